// A workgroup has 256 invocations.

const WORKGROUP_SIZE: u32 = 256u;
