// Numbers in order, as integers: comparisons that no driver may relax, whatever the logits are.

// Greater for greater numbers; 0 for what is no number, less than that of any.
fn ordered(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    if (bits & 0x7fffffffu) > 0x7f800000u {
        return 0u;
    }
    return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

// The number of which this is the order.
fn number(order: u32) -> f32 {
    return bitcast<f32>(select(~order, order & 0x7fffffffu, order >= 0x80000000u));
}

// A distance that is infinite, and the order of the numbers without end.
const INFINITE: u32 = 0x7f800000u;
const MINUS_INFINITY: u32 = 0x007fffffu;
const PLUS_INFINITY: u32 = 0xff800000u;

// The bits of how far `order` is below `greatest`, which are in the order of distances themselves.
fn distance_below(order: u32, greatest: u32) -> u32 {
    if order == greatest {
        return 0u;
    }
    if order <= MINUS_INFINITY || greatest == PLUS_INFINITY {
        return INFINITE;
    }
    return min(bitcast<u32>(number(greatest) - number(order)), INFINITE);
}
