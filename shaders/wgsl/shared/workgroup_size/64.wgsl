// A workgroup has 64 invocations.

const WORKGROUP_SIZE: u32 = 64u;
