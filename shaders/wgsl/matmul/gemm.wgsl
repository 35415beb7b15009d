// A product of two matrices, 16 rows by 128 columns of it to a workgroup.
//
// As in a prompt's tile an invocation keeps 64 sums, sixteen rows of four columns, because reads are what costs: the sixteen rows come through workgroup
// memory and are the same for all invocations; the four columns are read by the one that owns them. Sixteen rows are
// a 4 x 4 matrix, whatever they mean. How rows come to workgroup memory is the business of `products`, where they come from of `stage`, columns are that of `multiply`; what
// becomes of the sums is that of `finish`. What operands are rounded to is said by a file of its own, through which all of them go: `put` and `staged` for rows, `own` for columns.

// Sixteen rows.
alias Rows = mat4x4<f32>;

const WORKGROUP_SIZE: u32 = 32u;

// What an invocation makes: sixteen rows of four columns.
struct Sums {
    a: Rows,
    b: Rows,
    c: Rows,
    d: Rows,
}

// Adds the products of sixteen rows with four of the other operand.
fn add_products(sums: Sums, by: vec4<f32>, rows: Rows) -> Sums {
    return Sums(sums.a + by.x * rows, sums.b + by.y * rows, sums.c + by.z * rows, sums.d + by.w * rows);
}

fn work(group: vec3<u32>, invocation: u32) {
    let first = group.y * 16u;
    let owner = group.x * 32u + invocation;
    let sums = tile_products(first, owner, invocation);
    epilogue_rows(first, owner, Rows(sums.a[0], sums.b[0], sums.c[0], sums.d[0]));
    epilogue_rows(first + 4u, owner, Rows(sums.a[1], sums.b[1], sums.c[1], sums.d[1]));
    epilogue_rows(first + 8u, owner, Rows(sums.a[2], sums.b[2], sums.c[2], sums.d[2]));
    epilogue_rows(first + 12u, owner, Rows(sums.a[3], sums.b[3], sums.c[3], sums.d[3]));
}

// Four rows of four columns, as far as the rows exist.
fn epilogue_rows(first: u32, owner: u32, columns: Rows) {
    var rows = transpose(columns);
    for (var i = 0u; i < 4u; i++) {
        if first + i < height() {
            epilogue(first + i, owner, rows[i]);
        }
    }
}
