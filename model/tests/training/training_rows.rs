//! Rows of JSONL files as the trainer reads them: every way to be malformed, and the token cache.

use crate::fixture;
use std::fs;
use std::path::{Path, PathBuf};

use model::Tokenizer;
use model::training::Error;
use model::training::data::{Content, DataSet, RawRow, Reading, Report, RowKind, read_rows};
use model::training::settings::BadRows;
use tempfile::TempDir;

/// Files, their token cache, and what was told about them.
struct World {
    folder: TempDir,
    tokenizer: Tokenizer,
    files: Vec<PathBuf>,
    bad_rows: BadRows,
    kind: RowKind,
    labels: Option<Vec<String>>,
}

/// Result of opening files.
struct Opened {
    set: Result<DataSet, Error>,
    /// `file:line: problem` of each row that was left out.
    skipped: Vec<String>,
    /// Rows that were tokenised; none when the cache was used.
    tokenised: Option<u64>,
}

impl World {
    fn new(kind: RowKind, contents: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let tokenizer = Tokenizer::from_bytes(&fixture::bytes("t5gemma-balanced/tokenizer.json")).unwrap();
        let mut world = Self { folder, tokenizer, files: Vec::new(), bad_rows: BadRows::Fail, kind, labels: None };
        for (number, contents) in contents.iter().enumerate() {
            world.files.push(world.folder.path().join(format!("{number}.jsonl")));
            fs::write(&world.files[number], contents).unwrap();
        }
        world
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn open(&self) -> Opened {
        let how = Reading {
            kind: self.kind,
            tokenizer: Some(&self.tokenizer),
            source_vocab: 512,
            target_vocab: 512,
            labels: self.labels.as_deref(),
            bad_rows: self.bad_rows,
        };
        let (mut skipped, mut tokenised) = (Vec::new(), None);
        let set = DataSet::open(&self.files, &how, &self.cache(), &mut |report| match report {
            Report::Progress(progress) => tokenised = Some(progress.rows),
            Report::Skipped { path, line, problem } => skipped.push(format!("{}:{line}: {problem}", name(path))),
        });
        Opened { set, skipped, tokenised }
    }

    /// The one file with the tokens.
    fn tokens(&self) -> PathBuf {
        let files = fs::read_dir(self.cache()).unwrap().map(|entry| entry.unwrap().path());
        let files: Vec<_> = files.filter(|path| path.extension().is_some()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// The error of a file whose second line is the row in question.
fn problem(kind: RowKind, row: &str) -> String {
    let good = match kind {
        RowKind::Text => r#"{"text": "a good one"}"#,
        RowKind::Pair => r#"{"input": "a good one", "target": "too"}"#,
        RowKind::Labelled => r#"{"input": "a good one", "label": "good"}"#,
    };
    let world = World::new(kind, &[good, &format!("{good}\n{row}\n{good}\n")]);
    let error = world.open().set.unwrap_err();
    let Error::Row { path, line: 2, problem } = &error else { panic!("{row}: {error:?}") };
    assert_eq!(path, &world.files[1]);
    assert_eq!(error.to_string(), format!("{}:2: {problem}", path.display()));
    let left = fs::read_dir(world.cache()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(left, ["lock"], "nothing half-written stays");
    problem.clone()
}

#[test]
fn a_malformed_row_of_any_kind_is_named_with_its_file_and_line() {
    use RowKind::{Labelled, Pair, Text};
    let cases = [
        (Text, r#"{"text": "cut of"#, "it is not a JSON object (EOF while parsing a string at column 16)"),
        (Text, r#"["a", "b"]"#, "it is not a JSON object"),
        (Text, "a text", "it is not a JSON object"),
        (Text, r#"{"text": "a"} {"text": "b"}"#, "it is not a JSON object (trailing characters"),
        (Text, r#"{"text": "a", "text": "b"}"#, "it is not a JSON object (duplicate field `text`"),
        (Text, r#"{"input": "a", "target": "b"}"#, r#"it has neither "text" nor "input_ids""#),
        (Text, r#"{"text": null}"#, r#"it has neither "text" nor "input_ids""#),
        (Text, r#"{"text": "a", "input_ids": [5]}"#, r#"it has both "text" and "input_ids""#),
        (Text, r#"{"input_ids": [5], "target_ids": [6]}"#, r#"it has "target_ids", which an objective on texts"#),
        (Text, r#"{"text": ""}"#, r#"its "text" is empty"#),
        (Text, r#"{"text": 7}"#, r#"its "text" is not a string"#),
        (Text, r#"{"input_ids": []}"#, r#"its "input_ids" is empty"#),
        (Text, r#"{"input_ids": "5"}"#, r#"its "input_ids" is not a list of token ids"#),
        (Text, r#"{"input_ids": [5, -1]}"#, r#"its "input_ids" holds -1, which is no token id"#),
        (Text, r#"{"input_ids": [5, 1.5]}"#, r#"its "input_ids" holds 1.5, which is no token id"#),
        (Text, r#"{"input_ids": [5, 512]}"#, "its token id 512 is outside the vocabulary of 512"),
        (Pair, r#"{"input": "a"}"#, r#"it has neither "target" nor "target_ids""#),
        (Pair, r#"{"target": "a"}"#, r#"it has neither "input" nor "input_ids""#),
        (Pair, r#"{"input": "a", "target": ""}"#, r#"its "target" is empty"#),
        (Pair, r#"{"input_ids": [5], "target_ids": [9999]}"#, "its token id 9999 is outside"),
        (Pair, r#"{"input": "a", "label": "b"}"#, r#"it has neither "target" nor "target_ids""#),
        (Labelled, r#"{"input": "a"}"#, r#"it has no "label""#),
        (Labelled, r#"{"input": "a", "label": 3}"#, r#"its "label" is not a string"#),
        (Labelled, r#"{"input": "a", "label": ""}"#, r#"its "label" is empty"#),
        (Labelled, r#"{"label": "a"}"#, r#"it has neither "input" nor "input_ids""#),
    ];
    for (kind, row, expected) in cases {
        let found = problem(kind, row);
        assert!(found.starts_with(expected), "{row}: {found}");
    }
}

#[test]
fn a_text_without_a_tokenizer_is_told_to_set_one() {
    let world = World::new(RowKind::Text, &[r#"{"text": "a"}"#]);
    let how = Reading {
        kind: RowKind::Text,
        tokenizer: None,
        source_vocab: 512,
        target_vocab: 512,
        labels: None,
        bad_rows: BadRows::Fail,
    };
    let error = DataSet::open(&world.files, &how, &world.cache(), &mut |_| ()).unwrap_err();
    assert!(error.to_string().ends_with("0.jsonl:1: it is text, and there is no tokenizer: set model.tokenizer"));
}

#[test]
fn malformed_rows_are_reported_and_left_out_on_request() {
    let mut world = World::new(
        RowKind::Pair,
        &[
            "{\"input\": \"a\", \"target\": \"b\"}\n\nnothing\n{\"input\": \"c\", \"target\": \"d\"}\n",
            "{\"input\": \"a\"}\n{\"input\": \"e\", \"target\": \"f\", \"unread\": {}}",
        ],
    );
    world.bad_rows = BadRows::Skip;
    let told = ["0.jsonl:3: it is not a JSON object", "1.jsonl:1: it has neither \"target\" nor \"target_ids\""];
    let first = world.open();
    let set = first.set.unwrap();
    assert_eq!((set.rows(), set.skipped(), first.tokenised), (3, 2, Some(3)));
    assert_eq!(first.skipped, told);

    let again = world.open();
    assert_eq!((again.set.unwrap().skipped(), again.tokenised), (2, None));
    assert_eq!(again.skipped, told, "what is wrong is said every time");

    world.bad_rows = BadRows::Fail;
    let error = world.open().set.unwrap_err().to_string();
    assert!(error.ends_with("0.jsonl:3: it is not a JSON object"), "{error}");
}

#[test]
fn files_without_a_usable_row_are_an_error() {
    let mut world = World::new(RowKind::Text, &["nothing\n", "\n"]);
    world.bad_rows = BadRows::Skip;
    let error = world.open().set.unwrap_err();
    assert!(matches!(&error, Error::NoRows { skipped: 1, files } if files.len() == 2), "{error}");
    assert!(error.to_string().ends_with(": all 1 were left out"), "{error}");
    fs::remove_file(&world.files[0]).unwrap();
    let error = world.open().set.unwrap_err().to_string();
    assert!(error.starts_with("cannot read ") && error.contains("0.jsonl"), "{error}");
}

#[test]
fn labels_are_sorted_or_as_configured_and_unknown_ones_make_malformed_rows() {
    let rows = ["b", "c", "a", "b"].map(|label| format!("{{\"input\": \"x\", \"label\": \"{label}\"}}\n"));
    let mut world = World::new(RowKind::Labelled, &[&rows.concat()]);
    let set = world.open().set.unwrap();
    assert_eq!(set.labels(), ["a", "b", "c"]);

    world.labels = Some(vec!["c".to_owned(), "b".to_owned()]);
    let error = world.open().set.unwrap_err().to_string();
    assert!(error.ends_with("0.jsonl:3: its label \"a\" is none of c, b"), "{error}");
    world.bad_rows = BadRows::Skip;
    let opened = world.open();
    let set = opened.set.unwrap();
    assert_eq!((set.rows(), set.skipped(), set.labels()), (3, 1, &["c".to_owned(), "b".to_owned()][..]));
    assert_eq!(opened.skipped, ["0.jsonl:3: its label \"a\" is none of c, b"]);
    assert_eq!(opened.tokenised, None, "labels are not part of the tokens");
}

#[test]
fn a_cache_is_used_until_its_files_or_its_tokenizer_change() {
    let mut world =
        World::new(RowKind::Text, &["{\"text\": \"one\"}\n{\"text\": \"two\"}\n", "{\"text\": \"three\"}\n"]);
    let first = world.open();
    assert_eq!(first.tokenised, Some(3));
    let fingerprint = first.set.unwrap().fingerprint();
    let second = world.open();
    assert_eq!((second.tokenised, second.set.unwrap().fingerprint()), (None, fingerprint));
    let path = world.tokens();

    // Of the same length, and of the same second: only the contents tell.
    fs::write(&world.files[0], "{\"text\": \"one\"}\n{\"text\": \"six\"}\n").unwrap();
    let changed = world.open();
    assert_eq!(changed.tokenised, Some(3));
    assert_ne!(changed.set.unwrap().fingerprint(), fingerprint);
    assert_eq!(world.tokens(), path, "it takes the place of the stale one");

    let mut json: serde_json::Value =
        serde_json::from_slice(&fixture::bytes("t5gemma-balanced/tokenizer.json")).unwrap();
    json["version"] = serde_json::json!("another");
    world.tokenizer = Tokenizer::from_bytes(json.to_string().as_bytes()).unwrap();
    assert_eq!(world.open().tokenised, Some(3));
    assert_eq!(world.open().tokenised, None);
}

#[test]
fn a_damaged_cache_is_built_anew() {
    let world = World::new(RowKind::Text, &["{\"text\": \"one\"}\n{\"text\": \"two\"}\n"]);
    let fingerprint = world.open().set.unwrap().fingerprint();
    let path = world.tokens();
    let whole = fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    damaged[2] ^= 1;
    for contents in [&damaged[..], &whole[..whole.len() / 2], b""] {
        fs::write(&path, contents).unwrap();
        let opened = world.open();
        assert_eq!((opened.tokenised, opened.set.unwrap().fingerprint()), (Some(2), fingerprint));
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
    // What a run leaves that was ended while it built.
    fs::write(path.with_extension("partial"), &whole[..9]).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(world.open().tokenised, Some(2));
    assert_eq!(world.tokens(), path);
}

#[test]
fn two_runs_that_open_the_same_files_at_once_build_one_cache() {
    let rows: String = (0..2000).map(|row| format!("{{\"text\": \"the text of row {row}\"}}\n")).collect();
    let world = World::new(RowKind::Text, &[&rows]);
    let opened: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| world.open())).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(opened.iter().filter(|one| one.tokenised.is_some()).count(), 1);
    assert!(opened.into_iter().all(|one| one.set.unwrap().rows() == 2000));
}

#[test]
fn the_kind_of_a_file_is_seen_in_its_first_row() {
    let cases = [
        (r#"{"input": "a", "label": "b"}"#, RowKind::Labelled),
        (r#"{"input": "a", "target": "b"}"#, RowKind::Pair),
        (r#"{"input_ids": [1], "target_ids": [2]}"#, RowKind::Pair),
        (r#"{"text": "a"}"#, RowKind::Text),
        (r#"{"input_ids": [1]}"#, RowKind::Text),
    ];
    for (row, kind) in cases {
        let world = World::new(RowKind::Text, &[&format!("\n{row}\nnothing")]);
        assert_eq!(RowKind::of_file(&world.files[0]).unwrap(), kind, "{row}");
    }
    let world = World::new(RowKind::Text, &["\n{}", ""]);
    let of_file = |file: usize| RowKind::of_file(&world.files[file]).unwrap_err();
    assert!(of_file(0).to_string().contains("0.jsonl:2: it has neither"));
    assert!(matches!(of_file(1), Error::NoRows { skipped: 0, .. }));
}

#[test]
fn rows_are_given_as_they_are_written() {
    let world = World::new(RowKind::Pair, &["{\"input\": \"a\", \"target_ids\": [3, 4]}\nnothing"]);
    let mut rows = Vec::new();
    read_rows(&world.files[0], RowKind::Pair, |line, row| {
        rows.push((line, row));
        Ok(())
    })
    .unwrap();
    let pair = RawRow::Pair { source: Content::Text("a".to_owned()), target: Content::Ids(vec![3, 4]) };
    assert_eq!(rows, [(1, Ok(pair)), (2, Err("it is not a JSON object".to_owned()))]);
}
