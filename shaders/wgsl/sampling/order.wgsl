// Numbers as integer order keys: drivers may relax comparisons of floats, but not of integers.

// The order key: greater for greater numbers; 0, less than any number, for NaN.
fn ordered(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    if (bits & 0x7fffffffu) > 0x7f800000u {
        return 0u;
    }
    return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

// The number of an order key.
fn number(order: u32) -> f32 {
    return bitcast<f32>(select(~order, order & 0x7fffffffu, order >= 0x80000000u));
}

// An infinite distance.
const INFINITE: u32 = 0x7f800000u;
// The order keys of the infinities.
const MINUS_INFINITY: u32 = 0x007fffffu;
const PLUS_INFINITY: u32 = 0xff800000u;

// The bits of the distance of `order` below `greatest`. As integers they are ordered like the
// distances.
fn distance_below(order: u32, greatest: u32) -> u32 {
    if order == greatest {
        return 0u;
    }
    if order <= MINUS_INFINITY || greatest == PLUS_INFINITY {
        return INFINITE;
    }
    return min(bitcast<u32>(number(greatest) - number(order)), INFINITE);
}

// A candidate is an order key and a token. Every other candidate is better than this one.
const NOTHING = vec2<u32>(0u, 0xffffffffu);

// The better of two candidates; among equals, the one with the smaller token.
fn better(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return select(a, b, b.x > a.x || (b.x == a.x && b.y < a.y));
}
