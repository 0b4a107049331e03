//! The tables of docs/ARITHMETIC.md against the code: constants to the bit, every model's tensors and operators, and
//! numbers to check a generator by. `UPDATE_DOCS=1 cargo nextest run -p models kernels::tests` writes them.

use std::fmt::Write as _;
use std::path::PathBuf;

use protocol::job::{ModelKind, ModelSpec};
use protocol::rng::Rng;

use super::random::Stream;
use super::{activation, math, random, real};
use crate::engine::{Program, ValueId};
use crate::zoo::{self, Init};

/// Columns of a line of text.
const COLUMNS: usize = 118;

fn page() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ARITHMETIC.md"))
}

fn constants() -> String {
    let mut text = String::from("| name | bits | about |\n| --- | --- | --- |\n");
    let mut single = |name: &str, value: f32| {
        writeln!(text, "| {name} | {:#010x} | {value:e} |", value.to_bits()).unwrap();
    };
    for (name, value) in math::CONSTANTS {
        single(name, value);
    }
    for (at, value) in math::EXP.into_iter().enumerate() {
        single(&format!("exp coefficient of r^{at}"), value);
    }
    for (at, value) in math::ERF.into_iter().enumerate() {
        single(&format!("erf coefficient of y^{at}"), value);
    }
    single("√½", activation::FRAC_1_SQRT_2);
    single("1/√(2π)", activation::FRAC_1_SQRT_2_PI);
    for (name, value) in real::CONSTANTS {
        writeln!(text, "| `f64` {name} | {:#018x} | {value:e} |", value.to_bits()).unwrap();
    }
    text
}

fn numbers() -> String {
    let mut text = String::from("| what | is |\n| --- | --- |\n");
    let mut derived = Rng::derive(&[1, 2, 3]);
    let [first, second] = [derived.next(), derived.next()];
    writeln!(text, "| first numbers of stream (1, 2, 3) | {first:#018x}, {second:#018x} |").unwrap();
    let mut items: Vec<u32> = (0..10).collect();
    Rng::derive(&[1, 2, 3]).shuffle(&mut items);
    writeln!(text, "| 0, 1, … 9 shuffled by stream (1, 2, 3) | {items:?} |").unwrap();
    let stream = Stream::new(&[1, 2, 3]);
    let normals = [0, 1, 2].map(|at| format!("{:#010x}", stream.normal(at, 1.0).to_bits())).join(", ");
    writeln!(text, "| its first normal values, as `f32` | {normals} |").unwrap();
    let uniform = [0, 1, 2].map(|at| format!("{:#010x}", stream.uniform(at, 0.5).to_bits())).join(", ");
    writeln!(text, "| its first values uniform in ±½, as `f32` | {uniform} |").unwrap();
    let single = |f: fn(f32) -> f32, x: f32| format!("{:#010x}", f(x).to_bits());
    let double = |f: fn(f64) -> f64, x: f64| format!("{:#018x}", f(x).to_bits());
    for (name, value) in [
        ("exp(1), `f32`", single(math::exp, 1.0)),
        ("tanh(0.5), `f32`", single(math::tanh, 0.5)),
        ("erf(0.5), `f32`", single(math::erf, 0.5)),
        ("exp(1), `f64`", double(real::exp, 1.0)),
        ("ln(10), `f64`", double(real::ln, 10.0)),
        ("sin(1), `f64`", double(real::sin, 1.0)),
        ("cos(10), `f64`", double(real::cos, 10.0)),
    ] {
        writeln!(text, "| {name} | {value} |").unwrap();
    }
    writeln!(text, "| part \"init\" of a stream | {:#x} |", zoo::INIT).unwrap();
    writeln!(text, "| part \"shuffle\" | {:#x} |", crate::train::SHUFFLE).unwrap();
    writeln!(text, "| part \"drop\" | {:#x} |", crate::engine::DROPOUT).unwrap();
    writeln!(text, "| γ | {:#x} |", random::GAMMA).unwrap();
    text
}

/// Every model, as small as shows how it is built.
fn specs() -> Vec<(&'static str, ModelSpec)> {
    let of = |kind, input, classes| ModelSpec { kind, input, classes };
    let gpt = ModelKind::Gpt { layers: 1, heads: 2, width: 8, dropout: 100 };
    vec![
        ("Logistic, input 1 × 4 × 4, 3 classes", of(ModelKind::Logistic, [1, 4, 4], 3)),
        (
            "Mlp, hidden 7, 5, input 1 × 4 × 4, 3 classes",
            of(ModelKind::Mlp { hidden: vec![7, 5] }, [1, 4, 4], 3),
        ),
        ("CnnFedavg, input 3 × 28 × 28, 10 classes", of(ModelKind::CnnFedavg, [3, 28, 28], 10)),
        ("CnnFlower, input 1 × 28 × 28, 10 classes", of(ModelKind::CnnFlower, [1, 28, 28], 10)),
        ("Resnet20, input 3 × 32 × 32, 10 classes", of(ModelKind::Resnet20, [3, 32, 32], 10)),
        ("Gpt, 1 layer, 2 heads, width 8, dropout 100, 16 positions, 50 tokens", of(gpt, [1, 1, 16], 50)),
    ]
}

fn start(init: Init) -> String {
    match init {
        Init::FanIn(inputs) => format!("±1/√{inputs}"),
        Init::Normal(deviation) => format!("normal · {deviation}"),
        Init::Ones => "1".to_owned(),
        Init::Zeros => "0".to_owned(),
    }
}

/// An operator's name and, in the forward pass, what it reads beside its own tensors, unless that is what the one
/// before it has made.
fn operator(program: &Program, at: usize) -> String {
    let node = &program.nodes()[at];
    let name = |id: ValueId| program.value(id).name.as_str();
    let own = ["weight", "bias"].map(|part| format!("{}.{part}", node.name));
    let reads: Vec<&str> =
        node.inputs.iter().map(|id| name(*id)).filter(|read| !own.iter().any(|own| own == read)).collect();
    let before = at.checked_sub(1).map_or("input", |before| name(program.nodes()[before].outputs[0]));
    if at >= program.forward_nodes() || reads == [before] {
        return format!("`{}`", node.name);
    }
    format!("`{}` (of `{}`)", node.name, reads.join("`, `"))
}

/// Words in lines of [`COLUMNS`].
fn wrapped(text: &mut String, words: impl Iterator<Item = String>) {
    let mut column = 0;
    for word in words {
        let wide = word.chars().count();
        if column > 0 && column + 1 + wide > COLUMNS {
            text.push('\n');
            column = 0;
        }
        if column > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(&word);
        column += wide;
    }
    text.push('\n');
}

/// `words` with commas between them.
fn listed(words: Vec<String>) -> impl Iterator<Item = String> {
    let last = words.len() - 1;
    words.into_iter().enumerate().map(move |(at, word)| if at < last { format!("{word},") } else { word })
}

fn models() -> String {
    let mut text = String::new();
    for (name, spec) in specs() {
        writeln!(text, "\n**{name}.** Tensors in canonical order, with what they start as:\n").unwrap();
        let tensors = zoo::parameters(&spec).unwrap();
        let tensor = |own: &zoo::Parameter| format!("`{}` {:?} {}", own.name, own.shape, start(own.init));
        // What belongs together stays on a line.
        let tensors = tensors.iter().map(tensor).map(|words| words.replace(' ', "\u{a0}")).collect();
        wrapped(&mut text, listed(tensors).map(|words| words.replace('\u{a0}', " ")));
        text.push_str("\nOperators:\n\n");
        let program = zoo::program(&spec, 1).unwrap();
        let operators = (0..program.nodes().len()).map(|at| operator(&program, at)).collect();
        wrapped(
            &mut text,
            listed(operators).flat_map(|words| words.split(' ').map(str::to_owned).collect::<Vec<_>>()),
        );
    }
    text
}

#[test]
fn the_tables_of_the_definition_are_those_of_the_code() {
    let path = page();
    let mut page = std::fs::read_to_string(&path).unwrap();
    for (name, want) in [("constants", constants()), ("numbers", numbers()), ("models", models())] {
        let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->\n"));
        let from = page.find(&begin).unwrap() + begin.len();
        let until = from + page[from..].find(&end).unwrap();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            page.replace_range(from..until, &want);
        } else {
            assert_eq!(&page[from..until], want, "docs/ARITHMETIC.md is not what the code does: {name}");
        }
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, page).unwrap();
    }
}
