//! Which crate may use which: the table in ARCHITECTURE.md against the manifests.
//!
//! [`parse_table`] reads the table and [`packages`] what cargo says; the rules compare the two and answer with a list
//! of sentences, empty when all is well.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::source::{Source, imports, words};

/// Crates whose root says `#![no_std]` without a condition and that name `std` only in their tests.
pub const PURE: [&str; 3] = ["tur-core", "tur-sched", "tur-http"];

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where the crate stands.
    pub layer: Layer,
    /// The crate.
    pub name: String,
    /// What it may use, other than in its tests.
    pub allowed: Vec<String>,
}

/// A place in the order of the crates; an edge runs to a strictly lower one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// `L` and a number: published.
    Published(u8),
    /// `D` and a number: for contributors, above everything that is published.
    Contributors(u8),
    /// `–`: a workspace of its own, above everything.
    Apart,
}

/// A crate as its manifest has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// What it uses, other than in tests and build scripts.
    pub normal: Vec<String>,
    /// What it uses for whatever purpose.
    pub all: Vec<String>,
    /// Absolute paths of the roots of its libraries and programs.
    pub roots: Vec<String>,
}

/// Reads the layer table: the one whose header begins with `| layer | crate |`.
///
/// # Errors
/// There is no such table, or a row of it cannot be read.
pub fn parse_table(markdown: &str) -> Result<Vec<Row>> {
    let rows: Vec<Row> = markdown
        .lines()
        .skip_while(|line| !line.starts_with("| layer | crate |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| parse_row(line).with_context(|| format!("cannot read the row: {line}")))
        .collect::<Result<_>>()?;
    ensure!(!rows.is_empty(), "there is no layer table");
    Ok(rows)
}

fn parse_row(line: &str) -> Result<Row> {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [layer, name, _, allowed] = cells[..] else {
        bail!("{} cells, not 4", cells.len());
    };
    Ok(Row {
        layer: parse_layer(layer)?,
        name: unquote(name)?,
        allowed: allowed.split(',').map(unquote).collect::<Result<_>>()?,
    })
}

fn parse_layer(cell: &str) -> Result<Layer> {
    match cell.split_at_checked(1) {
        Some(("L", number)) => Ok(Layer::Published(number.parse()?)),
        Some(("D", number)) => Ok(Layer::Contributors(number.parse()?)),
        _ if cell == "–" => Ok(Layer::Apart),
        _ => bail!("{cell} is no layer"),
    }
}

fn unquote(cell: &str) -> Result<String> {
    let name = cell
        .trim()
        .strip_prefix('`')
        .and_then(|rest| rest.strip_suffix('`'));
    Ok(name
        .with_context(|| format!("{cell} is not in backticks"))?
        .to_owned())
}

/// The packages in what `cargo metadata` printed.
///
/// # Errors
/// It has another shape than cargo documents.
pub fn packages(metadata: &Value) -> Result<Vec<Package>> {
    list(metadata, "packages")?.iter().map(package).collect()
}

fn package(value: &Value) -> Result<Package> {
    let dependencies = list(value, "dependencies")?;
    let normal = dependencies
        .iter()
        .filter(|dependency| dependency["kind"].is_null())
        .map(|dependency| text(dependency, "name"))
        .collect::<Result<_>>()?;
    let all = dependencies
        .iter()
        .map(|dependency| text(dependency, "name"))
        .collect::<Result<_>>()?;
    let roots = list(value, "targets")?
        .iter()
        .filter(|target| {
            ["lib", "bin", "proc-macro"].iter().any(|kind| {
                target["kind"]
                    .as_array()
                    .is_some_and(|kinds| kinds.contains(&(*kind).into()))
            })
        })
        .map(|target| text(target, "src_path"))
        .collect::<Result<_>>()?;
    Ok(Package {
        name: text(value, "name")?,
        normal,
        all,
        roots,
    })
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    value[key]
        .as_array()
        .with_context(|| format!("no list {key}"))
}

fn text(value: &Value, key: &str) -> Result<String> {
    Ok(value[key]
        .as_str()
        .with_context(|| format!("no text {key}"))?
        .to_owned())
}

/// Every crate has one row, and every row a crate.
#[must_use]
pub fn check_presence(rows: &[Row], packages: &[Package]) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in packages {
        match rows.iter().filter(|row| row.name == package.name).count() {
            1 => {}
            0 => wrong.push(format!("{} is not in the layer table", package.name)),
            n => wrong.push(format!("{} has {n} rows in the layer table", package.name)),
        }
    }
    for row in rows {
        if !packages.iter().any(|package| package.name == row.name) {
            wrong.push(format!(
                "the layer table has {}, which is no crate here",
                row.name
            ));
        }
    }
    wrong
}

/// Each crate uses what its row allows, and rows allow only strictly lower crates of this workspace.
#[must_use]
pub fn check_edges(rows: &[Row], packages: &[Package]) -> Vec<String> {
    let row_of = |name: &str| rows.iter().find(|row| row.name == name);
    let mut wrong = Vec::new();
    for row in rows {
        for lower in row.allowed.iter().filter_map(|name| row_of(name)) {
            if lower.layer >= row.layer {
                wrong.push(format!("{} is not below {}", lower.name, row.name));
            }
        }
    }
    for package in packages {
        let Some(row) = row_of(&package.name) else {
            continue;
        };
        for used in &package.normal {
            if !row.allowed.contains(used) {
                wrong.push(format!("{} may not use {used}", package.name));
            }
        }
    }
    wrong
}

/// Each crate from elsewhere that a manifest names is explained under "Dependencies".
#[must_use]
pub fn check_reasons(markdown: &str, packages: &[Package]) -> Vec<String> {
    let explained: Vec<&str> = markdown
        .lines()
        .skip_while(|line| *line != "## Dependencies")
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .filter_map(|line| line.strip_prefix('|')?.split('|').next())
        .flat_map(|names| names.split('`').skip(1).step_by(2))
        .collect();
    let own: Vec<&str> = packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let mut used: Vec<&str> = packages
        .iter()
        .flat_map(|package| package.all.iter().map(String::as_str))
        .filter(|name| !own.contains(name))
        .collect();
    used.sort_unstable();
    used.dedup();
    let missing = used.iter().filter(|name| !explained.contains(name));
    let unused = explained.iter().filter(|name| !used.contains(name));
    missing
        .map(|name| format!("no reason for {name}"))
        .chain(unused.map(|name| format!("a reason for {name}, which nobody uses")))
        .collect()
}

/// The root of a pure crate is `no_std` whatever the features.
#[must_use]
pub fn check_pure_root(source: &Source) -> Vec<String> {
    let plain = source.code.lines().any(|line| line.trim() == "#![no_std]");
    if plain {
        Vec::new()
    } else {
        vec![format!("{}: no unconditional #![no_std]", source.path)]
    }
}

/// A file of a pure crate does not name `std` outside its tests.
#[must_use]
pub fn check_pure_file(source: &Source) -> Vec<String> {
    let code = source.code_without_tests();
    let named = words(&code, "std").filter(|&at| {
        code[at..].starts_with("std::") || code[..at].trim_end().ends_with("extern crate")
    });
    let mut wrong: Vec<String> = named
        .map(|at| {
            format!(
                "{}:{}: std in a pure crate",
                source.path,
                source.line_of(at)
            )
        })
        .collect();
    let imported = imports(&code);
    if imported.iter().any(|path| path == "std" || path == "::std") {
        wrong.push(format!("{}: std in a pure crate", source.path));
    }
    wrong
}

/// The root of a library or program forbids unsafe code. A crate that holds a file that may be unsafe is not asked.
#[must_use]
pub fn check_forbids_unsafe(source: &Source) -> Vec<String> {
    let forbids = source
        .code
        .lines()
        .any(|line| line.trim() == "#![forbid(unsafe_code)]");
    if forbids {
        Vec::new()
    } else {
        vec![format!("{}: no #![forbid(unsafe_code)]", source.path)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "words\n\n| layer | crate | job | allowed |\n|---|---|---|---|\n\
        | L0 | `low` | a | `bytes` |\n| L1 | `left` | b | `low`, `url` |\n| L1 | `right` | c | `low` |\n\
        | D1 | `kit` | d | `low` |\n\nmore | words |\n";

    fn rows() -> Vec<Row> {
        parse_table(TABLE).unwrap()
    }

    fn package(name: &str, normal: &[&str]) -> Package {
        Package {
            name: name.into(),
            normal: normal.iter().map(|&name| name.into()).collect(),
            all: normal.iter().map(|&name| name.into()).collect(),
            roots: Vec::new(),
        }
    }

    fn all() -> Vec<Package> {
        vec![
            package("low", &["bytes"]),
            package("left", &["low"]),
            package("right", &["low"]),
            package("kit", &["low"]),
        ]
    }

    #[test]
    fn the_table_is_read() {
        let rows = rows();
        assert_eq!(rows.len(), 4);
        assert_eq!(rows[1].layer, Layer::Published(1));
        assert_eq!(rows[1].allowed, ["low", "url"]);
        assert!(rows[3].layer > rows[2].layer);
        assert_eq!(check_presence(&rows, &all()), Vec::<String>::new());
        assert_eq!(check_edges(&rows, &all()), Vec::<String>::new());
    }

    #[test]
    fn a_table_that_cannot_be_read_is_an_error() {
        assert!(parse_table("no table").is_err());
        for row in [
            "| L0 | `a` | b |",
            "| Lx | `a` | b | `c` |",
            "| L0 | a | b | `c` |",
            "| Q | `a` | b | `c` |",
        ] {
            assert!(
                parse_table(&format!("| layer | crate |\n|---|\n{row}\n")).is_err(),
                "{row}"
            );
        }
    }

    #[test]
    fn a_crate_without_a_row_and_a_row_without_a_crate_are_refused() {
        let mut packages = all();
        packages[1].name = "other".into();
        assert_eq!(
            check_presence(&rows(), &packages),
            [
                "other is not in the layer table",
                "the layer table has left, which is no crate here"
            ]
        );
    }

    #[test]
    fn a_dependency_that_no_row_allows_is_refused() {
        let mut packages = all();
        packages[0].normal.push("tokio".into());
        assert_eq!(check_edges(&rows(), &packages), ["low may not use tokio"]);
    }

    #[test]
    fn edges_to_siblings_and_upwards_are_refused_even_if_a_row_allows_them() {
        for (name, upper) in [("left", "right"), ("low", "left"), ("right", "kit")] {
            let mut rows = rows();
            let row = rows.iter_mut().find(|row| row.name == name).unwrap();
            row.allowed.push(upper.into());
            assert_eq!(
                check_edges(&rows, &all()),
                [format!("{upper} is not below {name}")]
            );
        }
    }

    #[test]
    fn only_normal_dependencies_count() {
        let metadata = serde_json::json!({ "packages": [{
            "name": "a",
            "dependencies": [{ "name": "b", "kind": null }, { "name": "c", "kind": "dev" }],
            "targets": [{ "kind": ["lib"], "src_path": "/a.rs" }, { "kind": ["test"], "src_path": "/t.rs" }],
        }]});
        let packages = packages(&metadata).unwrap();
        assert_eq!(packages[0].normal, ["b"]);
        assert_eq!(packages[0].all, ["b", "c"]);
        assert_eq!(packages[0].roots, ["/a.rs"]);
    }

    #[test]
    fn a_dependency_without_a_reason_is_refused_and_so_is_a_reason_without_a_dependency() {
        let markdown = "`url`\n## Dependencies\nWords, `bytes`.\n| crate | why |\n|---|---|\n| `url`, `x` | `y` |\n## More\n| `bytes` | z |\n";
        assert_eq!(
            check_reasons(
                markdown,
                &[package("low", &["bytes"]), package("left", &["low", "url"])]
            ),
            ["no reason for bytes", "a reason for x, which nobody uses"]
        );
    }

    #[test]
    fn a_root_that_is_no_std_on_a_condition_is_refused() {
        let good = Source::new("lib.rs", "//! Words.\n#![no_std]\n");
        let bad = Source::new(
            "lib.rs",
            "//! #![no_std]\n#![cfg_attr(not(test), no_std)]\n",
        );
        assert_eq!(check_pure_root(&good).len(), 0);
        assert_eq!(check_pure_root(&bad).len(), 1);
    }

    #[test]
    fn std_in_a_pure_crate_is_refused_outside_tests() {
        let good = "//! std::fs\n#[cfg(test)]\nextern crate std;\n#[cfg(test)]\nmod tests { use std::vec; }\n";
        assert_eq!(check_pure_file(&Source::new("a.rs", good)).len(), 0);
        for bad in [
            "use std::fs;",
            "extern crate std;",
            "fn f() { let x = ::std::env::args(); }",
            "use std as core_;",
            "use {core::mem, std::io};",
        ] {
            assert!(
                !check_pure_file(&Source::new("a.rs", bad)).is_empty(),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_root_without_forbid_is_refused() {
        let bad = Source::new(
            "lib.rs",
            "//! #![forbid(unsafe_code)]\n#![deny(unsafe_code)]\n",
        );
        assert_eq!(check_forbids_unsafe(&bad).len(), 1);
        let good = Source::new("lib.rs", "//! Words.\n#![forbid(unsafe_code)]\n");
        assert_eq!(check_forbids_unsafe(&good).len(), 0);
    }
}
