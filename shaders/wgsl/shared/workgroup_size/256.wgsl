// Invocations of a workgroup: 256. In a file of its own, so that a variant may have others.

const LANES: u32 = 256u;
