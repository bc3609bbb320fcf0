//! The page `docs/loadtest.md` lists everything that the program understands: flags, keys of a scenario, figures.

use std::collections::BTreeSet;

use clap::CommandFactory;
use loadtest::cli::Cli;
use loadtest::measurement::keys;
use loadtest::scenario::Scenario;

const PAGE: &str = include_str!("../../../docs/loadtest.md");
const EXAMPLE: &str = include_str!("../../scenarios/mix.toml");
/// Each table of a scenario, with a scenario in which one key of it is unknown.
const TABLES: [(&str, &str); 11] = [
    ("", "unknown = 1"),
    ("load", "load.unknown = 1"),
    ("load.stages", "load.stages = [{ seconds = 1, unknown = 1 }]"),
    ("sweep", "sweep.unknown = 1"),
    ("goodput", "goodput.unknown = 1"),
    ("requests", "requests = [{ unknown = 1 }]"),
    ("requests.source_tokens", "requests = [{ source_tokens = { unknown = 1 } }]"),
    ("requests.ids", "requests = [{ ids = { unknown = 1 } }]"),
    ("requests.cancel", "requests = [{ cancel = { unknown = 1 } }]"),
    ("requests.slow", "requests = [{ slow = { unknown = 1 } }]"),
    ("requests.vanish", "requests = [{ vanish = { unknown = 1 } }]"),
];

/// Keys that the parser names when it refuses another.
fn known_keys(scenario: &str) -> Vec<String> {
    let error = Scenario::parse(scenario).unwrap_err();
    let (_, expected) = error.message().split_once(", expected ").unwrap_or_else(|| panic!("{error}"));
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_page_lists_every_key_of_a_scenario_and_no_other() {
    let mut known = BTreeSet::new();
    for (table, scenario) in TABLES {
        let prefix = if table.is_empty() { String::new() } else { format!("{table}.") };
        known.extend(known_keys(scenario).into_iter().map(|key| format!("{prefix}{key}")));
    }
    let rows =
        PAGE.lines().skip_while(|line| *line != "## The scenario file").take_while(|line| *line != "## The figures");
    let listed = rows.filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let listed: BTreeSet<String> = listed.map(str::to_owned).collect();
    // Lengths of targets have the keys of those of sources.
    assert_eq!(listed, known);
}

#[test]
fn the_page_names_every_flag_and_figure() {
    let mut command = Cli::command();
    command.build();
    let all = command.get_subcommands().chain([&command]).flat_map(clap::Command::get_arguments);
    for flag in all.filter_map(clap::Arg::get_long).filter(|flag| !["help", "version"].contains(flag)) {
        assert!(PAGE.contains(&format!("`--{flag}")), "--{flag} is missing");
    }
    for key in keys() {
        let is_spread = key.ends_with("_ms");
        let name = if is_spread {
            format!("`{}`", key.split('_').skip(1).collect::<Vec<_>>().join("_"))
        } else {
            format!("`{key}`")
        };
        assert!(PAGE.contains(&name), "{key} is missing");
    }
}

#[test]
fn the_example_can_be_run() {
    let scenario = Scenario::parse(EXAMPLE).unwrap();
    assert!(scenario.check().unwrap().is_some());
}
