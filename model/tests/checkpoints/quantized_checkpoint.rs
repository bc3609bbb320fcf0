//! Quantised checkpoints: their contents, that they compute as quantising at load does, and the errors of broken ones.

use crate::drift;
use crate::fixture;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;

use crate::drift::{demo_texts, fixture_texts, forced};
use crate::fixture::checkpoints::{Stored, TENSORS, converted, copied, edit, rewrite, rewritten, sharded, stored};
use crate::fixture::{DemoRow, FOLDERS};
use kernels::cpu::{Cpu, Isa};
use kernels::{Precision, Scheme, WeightPart};
use model::{Arithmetic, Checkpoint, Error, Model, TensorTable, quantize};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use tempfile::TempDir;

const SCHEMES: [Scheme; 2] = [Scheme::Int8, Scheme::Int4];
const BALANCED: &str = "t5gemma-balanced";
const UP: &str = "model.encoder.layers.0.mlp.up_proj.weight";
const QUERY: &str = "model.encoder.layers.1.self_attn.q_proj.weight";

/// A quantised copy in a folder of its own.
fn quantized(source: &Checkpoint, scheme: Scheme) -> TempDir {
    let folder = TempDir::new().unwrap();
    let mut done = 0;
    quantize(source, scheme, folder.path(), &mut |bytes| done += bytes).unwrap();
    assert_eq!(done, source.tensor_bytes(), "the progress ends at the whole");
    folder
}

fn balanced(scheme: Scheme) -> TempDir {
    quantized(&Checkpoint::open(&fixture::path(BALANCED)).unwrap(), scheme)
}

fn refusal(folder: &Path) -> String {
    Checkpoint::open(folder).unwrap_err().to_string()
}

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_quantised_checkpoint_gives_the_logits_of_quantising_at_load_bit_for_bit() {
    let check = |original: &Checkpoint, texts: &[drift::Text], scheme| {
        let folder = quantized(original, scheme);
        let copy = Checkpoint::open(folder.path()).unwrap();
        assert_eq!((copy.scheme(), original.scheme()), (Some(scheme), None));
        assert_eq!(copy.config(), original.config());
        for precision in [Precision::F32, Precision::Bf16] {
            let arithmetic = Arithmetic { quantize: Some(scheme), ..precision.into() };
            let expected = forced(Cpu::new(Isa::detect(), 1), original, arithmetic, texts);
            for quantize in [Some(scheme), None] {
                let actual =
                    forced(Cpu::new(Isa::detect(), 1), &copy, Arithmetic { quantize, ..precision.into() }, texts);
                assert!(actual == expected, "{}, {arithmetic}", original.origin().display());
            }
        }
    };
    for scheme in SCHEMES {
        for folder in FOLDERS {
            check(&Checkpoint::open(&fixture::path(folder)).unwrap(), &fixture_texts(folder), scheme);
        }
        let demo = Checkpoint::embedded().unwrap();
        check(&demo, &demo_texts(&demo, &DemoRow::all())[..12], scheme);
    }
}

#[test]
fn every_instruction_set_packs_the_same_checkpoint() {
    let texts = fixture_texts(BALANCED);
    for scheme in SCHEMES {
        let folder = balanced(scheme);
        let copy = Checkpoint::open(folder.path()).unwrap();
        let original = Checkpoint::open(&fixture::path(BALANCED)).unwrap();
        let arithmetic = Arithmetic { quantize: Some(scheme), ..Precision::F32.into() };
        for isa in Isa::all() {
            let of = |checkpoint: &Checkpoint| forced(Cpu::new(isa, 1), checkpoint, arithmetic, &texts);
            assert!(of(&copy) == of(&original), "{isa:?}");
        }
    }
}

#[test]
fn the_copy_stands_alone_with_every_small_file_and_the_other_tensors_as_they_were() {
    for (dtype, scheme) in [(Dtype::BF16, Scheme::Int8), (Dtype::F16, Scheme::Int4), (Dtype::F32, Scheme::Int4)] {
        let source = rewritten(|name, view| Some((name.to_owned(), converted(view, dtype))));
        for name in ["tokenizer_config.json", "special_tokens_map.json", "tokenizer.model", "chat_template.jinja"] {
            fs::write(source.path().join(name), name).unwrap();
        }
        fs::write(source.path().join("training.log"), "no part of a model").unwrap();
        let original = fs::read(source.path().join(TENSORS)).unwrap();
        let original = SafeTensors::deserialize(&original).unwrap();
        let copy = quantized(&Checkpoint::open(source.path()).unwrap(), scheme);
        let mut expected = names(source.path());
        expected.remove("training.log");
        assert_eq!(names(copy.path()), expected);
        for name in expected.iter().filter(|name| *name != TENSORS && *name != "config.json") {
            assert_eq!(fs::read(copy.path().join(name)).unwrap(), fs::read(source.path().join(name)).unwrap());
        }
        drop(source);

        let checkpoint = Checkpoint::open(copy.path()).unwrap();
        let bytes = fs::read(copy.path().join(TENSORS)).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let table = TensorTable::new(checkpoint.config());
        let mut quantized = 0;
        for (name, _) in table.iter() {
            let tensor = checkpoint.tensor(name).unwrap();
            let (stored, quantised) = match tensor.part() {
                WeightPart::Stored { bytes, .. } => (bytes, false),
                _ => (&[][..], true),
            };
            assert_eq!(quantised, name.contains("_proj"), "{name}");
            if quantised {
                quantized += 1;
                assert!(tensors.tensor(name).is_err(), "{name} is not there twice");
            } else {
                assert_eq!(stored, original.tensor(name).unwrap().data(), "{name}");
            }
        }
        assert_eq!(tensors.len(), original.len() + quantized);
    }
}

#[test]
fn integers_and_scales_have_the_documented_names_types_and_shapes() {
    let info = |folder: &TempDir, name: &str| {
        let bytes = fs::read(folder.path().join(TENSORS)).unwrap();
        let view = SafeTensors::deserialize(&bytes).unwrap();
        let view = view.tensor(name).unwrap();
        (view.dtype(), view.shape().to_vec())
    };
    let original = Checkpoint::open(&fixture::path("t5gemma-unbalanced")).unwrap();
    let (rows, cols) = original.tensor(UP).unwrap().part().shape();
    assert_ne!(cols % 32, 0, "the last group of a row is not full");
    let int8 = quantized(&original, Scheme::Int8);
    assert_eq!(info(&int8, &format!("{UP}_q8")), (Dtype::I8, vec![rows, cols]));
    assert_eq!(info(&int8, &format!("{UP}_scale")), (Dtype::F32, vec![rows]));
    let int4 = quantized(&original, Scheme::Int4);
    assert_eq!(info(&int4, &format!("{UP}_q4")), (Dtype::U8, vec![rows, cols.div_ceil(2)]));
    assert_eq!(info(&int4, &format!("{UP}_scale")), (Dtype::BF16, vec![rows, cols.div_ceil(32)]));
    let (rows, cols) = original.tensor(QUERY).unwrap().part().shape();
    assert_eq!(info(&int4, &format!("{QUERY}_q8")), (Dtype::I8, vec![rows, cols]));
    assert_eq!(info(&int4, &format!("{QUERY}_scale")), (Dtype::F32, vec![rows]));
    let config =
        |path: &Path| -> Value { serde_json::from_slice(&fs::read(path.join("config.json")).unwrap()).unwrap() };
    let mut written = config(int4.path());
    let own = written.as_object_mut().unwrap().remove("quantization_config").unwrap();
    assert_eq!(own, json!({"quant_method": "encdec", "version": 1, "scheme": "int4"}));
    assert_eq!(written, config(&fixture::path("t5gemma-unbalanced")));
}

#[test]
fn a_sharded_source_gives_the_same_file() {
    let sharded = sharded(BALANCED);
    let copy = quantized(&Checkpoint::open(sharded.path()).unwrap(), Scheme::Int8);
    let bytes = |folder: &TempDir| fs::read(folder.path().join(TENSORS)).unwrap();
    assert!(bytes(&copy) == bytes(&balanced(Scheme::Int8)));
}

#[test]
fn what_is_missing_or_of_another_shape_or_type_is_listed_at_once() {
    let folder = balanced(Scheme::Int4);
    let (no_scale, turned, floats) = (format!("{UP}_scale"), format!("{UP}_q4"), format!("{QUERY}_scale"));
    rewrite(folder.path(), |name, view| {
        let (dtype, shape, bytes): Stored = stored(view);
        match name {
            _ if name == no_scale => None,
            _ if name == turned => Some((name.to_owned(), (dtype, vec![shape[1], shape[0]], bytes))),
            _ if name == floats => Some((name.to_owned(), (Dtype::I32, shape, bytes))),
            _ => Some((name.to_owned(), (dtype, shape, bytes))),
        }
    });
    let error = Checkpoint::open(folder.path()).unwrap_err();
    let message = error.to_string();
    for part in [
        format!("{no_scale} is missing"),
        format!("{turned} has shape"),
        format!("{floats} is stored as I32; usable is F32"),
    ] {
        assert!(message.contains(&part), "{message}");
    }
    let Error::Tensors { problems, .. } = error else { panic!("{message}") };
    assert_eq!(problems.len(), 3);
}

#[test]
fn a_configuration_that_does_not_say_what_the_tensors_are_is_refused() {
    let folder = balanced(Scheme::Int8);
    let config = folder.path().join("config.json");
    let with = |value: Value| {
        edit(&config, |config| config["quantization_config"] = value);
        refusal(folder.path())
    };
    let of = |version: Value, scheme: &str| json!({"quant_method": "encdec", "version": version, "scheme": scheme});
    let message = with(of(json!(2), "int8"));
    assert!(message.contains("quantization_config.version is 2; this program reads version 1"), "{message}");
    assert!(with(of(json!("1"), "int8")).contains("quantization_config.version is \"1\""));
    assert!(with(of(json!(1), "int3")).contains("quantization_config.scheme is \"int3\""));
    let message = with(json!({"quant_method": "gptq", "bits": 4}));
    assert!(message.contains("quant_method is \"gptq\"") && message.contains("server quantize"), "{message}");
    assert!(with(json!({"bits": 4})).contains("quantization_config.quant_method is missing"));
    assert!(with(json!("int8")).contains("quantization_config is not an object"));
    let message = with(of(json!(1), "int4"));
    assert!(message.contains("weight_q4 is missing"), "{message}");
    let message = with(Value::Null);
    assert!(message.contains(".weight is missing"), "{message}");
}

#[test]
fn a_copy_is_not_quantised_again_nor_taken_for_another_scheme() {
    let folder = balanced(Scheme::Int8);
    let copy = Checkpoint::open(folder.path()).unwrap();
    let out = TempDir::new().unwrap();
    let error = quantize(&copy, Scheme::Int4, out.path(), &mut |_| ()).unwrap_err();
    assert!(matches!(error, Error::AlreadyQuantized { scheme: Scheme::Int8, .. }), "{error}");
    assert!(names(out.path()).is_empty());
    let arithmetic = Arithmetic { quantize: Some(Scheme::Int4), ..Precision::Bf16.into() };
    let loaded = Model::load(Cpu::new(Isa::detect(), 1), &copy, arithmetic, &mut |_| ());
    let message = loaded.err().unwrap().to_string();
    assert!(message.contains("quantised to int8, not to int4"), "{message}");
}

#[test]
fn a_folder_with_anything_in_it_is_left_alone() {
    let source = Checkpoint::open(&fixture::path(BALANCED)).unwrap();
    let out = TempDir::new().unwrap();
    fs::write(out.path().join("mine.txt"), "mine").unwrap();
    let error = quantize(&source, Scheme::Int8, out.path(), &mut |_| ()).unwrap_err();
    assert!(matches!(error, Error::NotEmpty { .. }), "{error}");
    assert_eq!(names(out.path()), ["mine.txt".to_owned()].into());
    let file = out.path().join("mine.txt");
    assert!(quantize(&source, Scheme::Int8, &file, &mut |_| ()).unwrap_err().to_string().contains("mine.txt"));
}

#[test]
fn a_source_that_fails_halfway_leaves_an_empty_folder_behind() {
    let source = copied(BALANCED);
    let checkpoint = Checkpoint::open(source.path()).unwrap();
    // The tokenizer is written by the time that the first tensor is read.
    fs::File::options().append(true).open(source.path().join(TENSORS)).unwrap().write_all(&[0]).unwrap();
    let out = TempDir::new().unwrap();
    let error = quantize(&checkpoint, Scheme::Int8, out.path(), &mut |_| ()).unwrap_err();
    assert!(matches!(error, Error::Changed { .. }), "{error}");
    assert!(names(out.path()).is_empty(), "{:?}", names(out.path()));
}
