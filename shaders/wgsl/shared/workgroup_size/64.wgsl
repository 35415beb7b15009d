// Invocations of a workgroup: 64. In a file of its own, so that a variant may have others.

const WORKGROUP_SIZE: u32 = 64u;
