// Finds the exact cut in a bin of `sampling/bins`. An item is a token's distance below the greatest
// logit, and the token. Items are ordered by distance, then by token, and the cut falls where a
// count or a weight is reached. A radix search finds it by digits of eight bits, from the highest;
// most bins have few tokens, so the first digits decide.

// The count or the weight of the items with each value of a digit.
var<workgroup> digits: array<atomic<u32>, WORKGROUP_SIZE>;
// Sums of `digits` over sixteen values.
var<workgroup> sixteens: array<u32, 16>;
// The digit where the cut falls, what remains to be reached within it, and its total.
var<workgroup> digit_found: vec3<u32>;
var<workgroup> summed: atomic<u32>;

const EVERYTHING = vec2<u32>(0xffffffffu, 0xffffffffu);

// Whether an item is at or before the limit.
fn within(item: vec2<u32>, limit: vec2<u32>) -> bool {
    return item.x < limit.x || (item.x == limit.x && item.y <= limit.y);
}

// The earlier of two places in the order.
fn earlier(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return select(a, b, within(b, a));
}

// The weight of the items of `bin` up to `limit`.
fn bin_units(invocation: u32, bin: u32, limit: vec2<u32>) -> u32 {
    if invocation == 0u {
        atomicStore(&summed, 0u);
    }
    workgroupBarrier();
    for (var i = invocation; i < candidate_count(); i += WORKGROUP_SIZE) {
        let item = candidate(i);
        if bin_of(item.x) == bin && within(item, limit) {
            atomicAdd(&summed, weight_units(item.x, bin));
        }
    }
    workgroupBarrier();
    return atomicLoad(&summed);
}

// The place of the cut. The items of `bin` at or before it, and up to `limit`, reach `wanted` in
// number, or in weight if `weighed`. It is the last of these items, or a place between that item
// and the next one.
fn threshold(invocation: u32, bin: u32, limit: vec2<u32>, weighed: bool, wanted: u32) -> vec2<u32> {
    var found = vec2<u32>(0u);
    var left = wanted;
    for (var word = 0u; word < 2u; word++) {
        var shift = 24u;
        // Within a bin the highest bits of the distance are known.
        if word == 0u && bin > 0u && bin < BINS - 1u {
            found.x = bin_begin(bin) & 0xff000000u;
            shift = 16u;
        }
        loop {
            atomicStore(&digits[invocation], 0u);
            workgroupBarrier();
            let known = ~((256u << shift) - 1u);
            for (var i = invocation; i < candidate_count(); i += WORKGROUP_SIZE) {
                let item = candidate(i);
                let same = select(
                    (item.x & known) == found.x,
                    item.x == found.x && (item.y & known) == found.y,
                    word == 1u,
                );
                if bin_of(item.x) == bin && within(item, limit) && same {
                    let digit = (select(item.x, item.y, word == 1u) >> shift) & 255u;
                    atomicAdd(&digits[digit], select(1u, weight_units(item.x, bin), weighed));
                }
            }
            workgroupBarrier();
            if invocation < 16u {
                var sum = 0u;
                for (var i = 0u; i < 16u; i++) {
                    sum += atomicLoad(&digits[invocation * 16u + i]);
                }
                sixteens[invocation] = sum;
                digit_found = vec3<u32>(255u, 1u, 1u);
            }
            workgroupBarrier();
            var before = 0u;
            var all = 0u;
            for (var i = 0u; i < 16u; i++) {
                all += sixteens[i];
                before += select(0u, sixteens[i], i < invocation / 16u);
            }
            for (var i = invocation / 16u * 16u; i < invocation; i++) {
                before += atomicLoad(&digits[i]);
            }
            let own = atomicLoad(&digits[invocation]);
            // Because of rounding, `left` may exceed the total.
            let reach = min(left, all);
            if before < reach && before + own >= reach {
                digit_found = vec3<u32>(invocation, reach - before, own);
            }
            let digit = workgroupUniformLoad(&digit_found);
            left = digit.y;
            if word == 0u {
                found.x |= digit.x << shift;
            } else {
                found.y |= digit.x << shift;
            }
            if digit.y == digit.z {
                // The whole digit is needed: the digits after it do not matter.
                let rest = (1u << shift) - 1u;
                if word == 0u {
                    return vec2<u32>(found.x | rest, 0xffffffffu);
                }
                return vec2<u32>(found.x, found.y | rest);
            }
            if shift == 0u {
                break;
            }
            shift -= 8u;
        }
    }
    return found;
}
