//! Chat templates. They are programs, so this checks that they terminate, in bounded memory.

use gpt_runtime::Tokenizer;
use gpt_runtime::text::{Message, Role};

use super::sentence;
use crate::{Place, Target};

pub const TARGET: Target = Target {
    name: "chat_template",
    seeds: || SEEDS.map(|seed| seed.as_bytes().to_vec()).into(),
    words: &[
        "{{",
        "}}",
        "{%",
        "%}",
        "{%-",
        "-%}",
        "{#",
        "#}",
        "if ",
        "else",
        "elif ",
        "endif",
        "for x in ",
        "endfor",
        "set ns.x = ",
        "macro m(a)",
        "endmacro",
        "range(100000)",
        "range(10 ** 9)",
        "*",
        "**",
        "~",
        "| join",
        "| tojson(indent=1000000)",
        "| indent(1000000)",
        "| replace('a', 'aaaaaaaa')",
        "| length",
        "| list",
        "| batch(2)",
        "| center(100000000)",
        "messages",
        "recursive",
        "loop(messages)",
        "loop.index",
        "strftime_now('%c%D%Y')",
        "raise_exception('x')",
        "'a' * 100000000",
        "{% generation %}",
        "{% endgeneration %}",
        "{% break %}",
        "namespace(x='aa')",
        "|string",
        ".format(1)",
        "'%1000000000d' % 1",
        "[[1]] * 1000",
        "'a'.split('')",
        ".strip()",
        ".ljust(1000000000)",
        "|urlencode",
        "cycler",
        "joiner",
        "{% filter upper %}",
        "{% call m(1) %}",
        "{{ caller() }}",
        "((((((((",
    ],
    check,
};

/// Templates like those of models.
const SEEDS: [&str; 6] = [
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system = false %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}{% if loop.index0 == 0 and system != false %}{% set content = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{{ '[INST] ' + content.strip() + ' [/INST]' }}{% endfor %}",
    "{%- set ns = namespace(first=true, last=messages|length - 1) -%}{%- macro turn(m) -%}<{{ m.role }}>{{ (m.content.split('</think>') | last).lstrip('\\n') }}{%- endmacro -%}{%- for m in messages[::-1] -%}{%- if ns.first and m.role == 'user' -%}{%- set ns.first = false -%}{%- endif -%}{{ turn(m) }}{%- endfor -%}",
    "{{- strftime_now('%d %b %Y') }}{% for m in messages %}{% generation %}{{ m | tojson(indent=4) }}{% endgeneration %}{% if loop.index > 2 %}{% break %}{% endif %}{% endfor %}{% if tools is not none and tools is defined %}{{ tools }}{% endif %}",
    "{% set ns = namespace(text='a') %}{% for i in range(9) %}{% set ns.text = ns.text ~ ns.text %}{% endfor %}{{ ns.text[:9] ~ 'b' * 3 }}{{ [1, 2] | join(', ') | indent(2) | replace('1', '2') | upper }}",
    "{% for x in [[1, [2]], 3] recursive %}{{ x if x is not iterable else loop(x) }}{% endfor %}{{ dict(a=1, b='%s' | format('x')) | items | list | length }}",
];

fn check(place: &Place, input: &[u8]) -> Result<bool, String> {
    let Ok(text) = std::str::from_utf8(input) else { return Ok(false) };
    let path = place.keep("tokenizer.json", || {
        let characters: String = (' '..='~').chain(['\n', '\t']).collect();
        let tokenizer = Tokenizer::characters(&characters).expect("characters");
        super::written(|path| tokenizer.save(path).expect("it is written"))
    });
    place.write("chat_template.jinja", text.as_bytes());
    let tokenizer = sentence(Tokenizer::from_path(&path))?.ok_or("the tokenizer is refused")?;
    let messages = [
        Message::new(Role::System, "be brief"),
        Message::new(Role::User, " hello <|im_end|>"),
        Message::new(Role::Assistant, "<think>x</think>\n\nhi"),
        Message::new(Role::User, "and now?"),
    ];
    Ok(sentence(tokenizer.apply_chat_template(&messages))?.is_some())
}
