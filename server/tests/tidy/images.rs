//! The images and what is deployed with them: what their files name exists, and the program takes what they tell it.
//!
//! An engine is needed to build an image (`scripts/docker-check.sh`); this needs none.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::{fs, process};

use clap::Parser;
use server::cli::{Cli, Command};
use server::config::{Config, Environment, Layer, ModelSource};
use yaml_rust2::{Yaml, YamlLoader};

use crate::tree::{entries, read, root};
use crate::{hold, manifest};

const DOCKERFILES: [&str; 2] = ["Dockerfile", "Dockerfile.cuda"];
const SETTINGS: &str = "deploy/image/config.toml";
const COMPOSE: &str = "deploy/compose/compose.yaml";
const COMPOSE_FILES: [&str; 5] = [
    COMPOSE,
    "deploy/compose/model.yaml",
    "deploy/compose/prometheus.yml",
    "deploy/compose/grafana/dashboards.yaml",
    "deploy/compose/grafana/datasources.yaml",
];

/// Instructions of a Dockerfile with their arguments, each on one line.
fn instructions(path: &str) -> Vec<(String, String)> {
    let text = read(path);
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n");
    let joined = lines.replace("\\\n", " ");
    let split = joined.lines().filter_map(|line| line.split_once(' '));
    split.map(|(name, rest)| (name.to_owned(), rest.trim().to_owned())).collect()
}

/// Arguments of the last instruction of this name.
fn last(path: &str, name: &str) -> String {
    let found = instructions(path).into_iter().rev().find(|(instruction, _)| instruction == name);
    found.unwrap_or_else(|| panic!("{path} has no {name}")).1
}

fn list(json: &str) -> Vec<String> {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json} is no list of strings: {error}"))
}

/// Files and folders that an image is built of.
fn copied(path: &str) -> Vec<String> {
    let copies = instructions(path).into_iter().filter(|(name, rest)| name == "COPY" && !rest.starts_with("--from"));
    let sources = copies.flat_map(|(_, rest)| {
        let parts: Vec<_> = rest.split_whitespace().map(str::to_owned).collect();
        parts[..parts.len() - 1].to_vec()
    });
    sources.collect()
}

#[test]
fn an_image_is_built_of_files_that_exist_and_are_not_ignored() {
    let ignore = read(".dockerignore");
    let kept: Vec<_> = ignore.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let mut broken = Vec::new();
    for dockerfile in DOCKERFILES {
        for source in copied(dockerfile) {
            if !root().join(&source).exists() {
                broken.push(format!("{dockerfile}: {source} does not exist"));
            }
            if !kept.iter().any(|kept| source == *kept || source.starts_with(&format!("{kept}/"))) {
                broken.push(format!("{dockerfile}: .dockerignore leaves {source} out"));
            }
        }
    }
    broken.extend(kept.iter().filter(|kept| !root().join(kept).exists()).map(|kept| format!(".dockerignore: {kept}")));
    hold(broken);
}

#[test]
fn an_image_compiles_libraries_from_the_manifests_of_all_crates() {
    let workspace = manifest("Cargo.toml");
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let needed: BTreeSet<_> = members.iter().map(|member| format!("{}/Cargo.toml", member.as_str().unwrap())).collect();
    for dockerfile in DOCKERFILES {
        let copied: BTreeSet<_> = copied(dockerfile).into_iter().filter(|path| path.ends_with("/Cargo.toml")).collect();
        assert_eq!(copied, needed, "{dockerfile}");
    }
}

#[test]
fn cargo_reads_the_crates_without_code_that_an_image_begins_with() {
    let folder = tempfile::tempdir().unwrap();
    let manifests = copied("Dockerfile").into_iter().filter(|path| path.contains("Cargo."));
    for path in manifests.chain(["scripts/build-dependencies.sh".to_owned()]) {
        let to = folder.path().join(&path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(root().join(&path), to).unwrap();
    }
    // In cargo's place: reads the manifests instead of building.
    let cargo = folder.path().join("bin/cargo");
    fs::create_dir(folder.path().join("bin")).unwrap();
    let arguments = "metadata --no-deps --offline --locked --format-version 1";
    fs::write(&cargo, format!("#!/bin/sh\nexec \"$REAL_CARGO\" {arguments} >/dev/null\n")).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let mut path = OsString::from(folder.path().join("bin"));
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let mut build = process::Command::new("bash");
    build.arg("scripts/build-dependencies.sh").current_dir(folder.path());
    let output = build.env("PATH", path).env("REAL_CARGO", env!("CARGO")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_program_takes_what_an_image_tells_it() {
    for dockerfile in DOCKERFILES {
        let resolve = |arguments: Vec<String>| {
            let line = list(&last(dockerfile, "ENTRYPOINT")).into_iter().chain(arguments);
            Cli::try_parse_from(line).unwrap().resolve(&Environment::default()).unwrap().0
        };
        assert_eq!(resolve(list(&last(dockerfile, "CMD"))), Command::Serve);
        let health = last(dockerfile, "HEALTHCHECK");
        let health = list(health.split_once("CMD ").expect("it runs a command").1);
        assert_eq!(health[..1], list(&last(dockerfile, "ENTRYPOINT")), "there is no other client in the image");
        assert!(matches!(resolve(health[1..].to_vec()), Command::Check(_)));
    }
}

#[test]
fn an_image_runs_without_rights_says_what_it_is_and_fits_every_processor() {
    let version = manifest("Cargo.toml")["workspace"]["package"]["version"].as_str().unwrap().to_owned();
    for dockerfile in DOCKERFILES {
        let user = last(dockerfile, "USER");
        let (user, group) = user.split_once(':').expect("user and group");
        assert!(user.parse::<u32>().unwrap() > 0 && group.parse::<u32>().unwrap() > 0, "{dockerfile}");
        assert_eq!(last(dockerfile, "STOPSIGNAL"), "SIGTERM");
        let labels = last(dockerfile, "LABEL");
        assert!(labels.contains(&format!("image.version=\"{version}\"")), "{dockerfile}: {labels}");
        assert!(last(dockerfile, "ENV").contains("ENCDEC_CONFIG=/usr/local/share/encdec/image.toml"), "{dockerfile}");
    }
    let builds = [".ci/run", "Cargo.toml", "scripts/build-dependencies.sh"].into_iter().chain(DOCKERFILES);
    for path in builds {
        assert!(!read(path).contains("target-cpu"), "{path}: instructions are chosen when the program runs");
    }
}

#[test]
fn an_image_s_settings_reach_its_address_and_leave_the_engine_time_to_end() {
    let config = Config::from_layers(vec![Layer::parse(SETTINGS, &read(SETTINGS)).unwrap()]).unwrap();
    assert_eq!(config.server.host, "0.0.0.0");
    assert_eq!(config.model.source, ModelSource::Demo, "nothing is mounted here");
    // `docker stop` kills ten seconds after its signal; the process may take one to end.
    assert!(config.server.drain_delay.as_secs() + config.server.drain_timeout.as_secs() < 9);
}

fn yaml(path: &str) -> Yaml {
    let mut documents = YamlLoader::load_from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(documents.len(), 1, "{path}");
    documents.remove(0)
}

fn texts(list: &Yaml) -> Vec<&str> {
    list.as_vec().map(|list| list.iter().filter_map(Yaml::as_str).collect()).unwrap_or_default()
}

#[test]
fn compose_names_files_that_exist_and_a_command_that_the_program_takes() {
    COMPOSE_FILES.iter().for_each(|path| _ = yaml(path));
    let compose = yaml(COMPOSE);
    let folder = root().join("deploy/compose");
    let services = compose["services"].as_hash().unwrap();
    let names: Vec<_> = services.keys().filter_map(Yaml::as_str).collect();
    assert_eq!(names, ["server", "prometheus", "grafana"]);
    let volumes = services.values().flat_map(|service| texts(&service["volumes"]));
    let mounted = volumes.filter_map(|volume| volume.split_once(':')).filter(|(source, _)| source.starts_with('.'));
    let missing = mounted.filter(|(source, _)| !folder.join(source).exists());
    hold(missing.map(|(source, _)| format!("{COMPOSE}: {source} does not exist")).collect());
    let server = &compose["services"]["server"];
    assert!(folder.join(server["build"]["context"].as_str().unwrap()).join("Dockerfile").exists());
    let command = texts(&server["command"]);
    let given = command.iter().map(|part| part.replace("/etc/encdec/own.toml", "../deploy/compose/server.toml"));
    let line = std::iter::once("server".to_owned()).chain(given);
    let (command, configs) = Cli::try_parse_from(line).unwrap().resolve(&Environment::default()).unwrap();
    assert_eq!(command, Command::Serve);
    let server_config = &configs.first().server;
    let grace = server["stop_grace_period"].as_str().unwrap().trim_end_matches('s').parse::<u64>().unwrap();
    assert!(server_config.drain_delay.as_secs() + server_config.drain_timeout.as_secs() < grace);
}

#[test]
fn the_example_files_of_deployments_are_yaml() {
    let is_yaml = |path: &str| path.starts_with("deploy/") && (path.ends_with(".yaml") || path.ends_with(".yml"));
    let files: Vec<_> = entries().into_iter().map(|entry| entry.path).filter(|path| is_yaml(path)).collect();
    let broken = files
        .iter()
        .filter(|path| !path.contains("/templates/"))
        .filter_map(|path| YamlLoader::load_from_str(&read(path)).err().map(|error| format!("{path}: {error}")));
    hold(broken.collect());
}
