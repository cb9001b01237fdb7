//! The tables of docs/scaler.md are the constants of the code: none is missing, none is stale, each has its value. What
//! docs/reliability.md counts of the conformance suite is what that has.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use xtask::tree;

/// Files whose constants have to stand there.
const FILES: [&str; 11] = [
    "crates/tur-sched/src/scaler/mod.rs",
    "crates/tur-sched/src/scaler/ladder.rs",
    "crates/tur-sched/src/scaler/estimator.rs",
    "crates/tur-sched/src/origin_lanes.rs",
    "crates/tur-sched/src/shares.rs",
    "crates/tur-sched/src/coordinator/plan.rs",
    "crates/tur-sched/src/coordinator/split.rs",
    "crates/tur-sched/src/coordinator/demand.rs",
    "crates/tur-sched/src/transfer/divide.rs",
    "crates/tur-sched/src/transfer/clock.rs",
    "crates/tur-sched/src/crew.rs",
];

/// Name and value of each `const` on the top level of a file.
fn constants(source: &str) -> BTreeMap<String, String> {
    let parsed = source.lines().filter_map(|line| {
        let rest = line.strip_prefix("pub(crate) ").unwrap_or(line);
        let (name, rest) = rest.strip_prefix("const ")?.split_once(": ")?;
        let (_, value) = rest.strip_suffix(';')?.split_once(" = ")?;
        Some((name.to_owned(), value.to_owned()))
    });
    parsed.collect()
}

/// Name and value of each row below the heading that names a file.
fn rows(page: &str, file: &str) -> BTreeMap<String, String> {
    let heading = format!("### {file}");
    let section = page.lines().skip_while(|line| *line != heading).skip(1);
    let rows = section
        .take_while(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let (name, rest) = line.strip_prefix("| `")?.split_once("` | `")?;
            let (value, _) = rest.split_once("` |")?;
            Some((name.to_owned(), value.to_owned()))
        });
    rows.collect()
}

/// What a page says wrongly of a file, one sentence each.
fn differences(page: &str, file: &str, source: &str) -> Vec<String> {
    let (code, page) = (constants(source), rows(page, file));
    let names: BTreeSet<&String> = code.keys().chain(page.keys()).collect();
    let differs = |name: &&String| match (code.get(*name), page.get(*name)) {
        // A field is not declared but set.
        (None, Some(value)) => !source.contains(&format!("    {name}: {value},\n")),
        (code, page) => code != page,
    };
    let wrong = names.into_iter().filter(differs);
    wrong
        .map(|name| {
            format!(
                "{file}: `{name}` is {:?} in the code and {:?} on the page",
                code.get(name),
                page.get(name)
            )
        })
        .collect()
}

#[test]
fn the_page_has_every_constant_as_it_is() -> Result<()> {
    let page = tree::read("docs/scaler.md")?;
    let mut wrong = Vec::new();
    for file in FILES {
        wrong.extend(differences(&page, file, &tree::read(file)?));
    }
    for line in page.lines() {
        if let Some(file) = line.strip_prefix("### ") {
            assert!(FILES.contains(&file), "{file} is not compared");
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    Ok(())
}

#[test]
fn the_pictures_are_there() -> Result<()> {
    let page = tree::read("docs/scaler.md")?;
    let pictures: Vec<&str> = page.lines().filter(|line| line.starts_with("![")).collect();
    assert!(pictures.len() >= 3, "{pictures:?}");
    for picture in pictures {
        let (_, path) = picture.split_once("](").context("a link")?;
        tree::read(&format!("docs/{}", path.trim_end_matches(')')))?;
    }
    Ok(())
}

#[test]
fn what_is_missing_stale_or_different_is_named() {
    let source = "const A: u16 = 8;\npub(crate) const B: f64 = 0.6;\nS {\n    loss: 0.05,\n}\n";
    let page = |rows: &str| {
        format!(
            "### f.rs\n\n| name | value | reason |\n|---|---|---|\n{rows}## end\n| `C` | `1` |\n"
        )
    };
    let right = "| `A` | `8` | x |\n| `B` | `0.6` | x |\n| `loss` | `0.05` | x |\n";
    assert_eq!(
        differences(&page(right), "f.rs", source),
        Vec::<String>::new()
    );
    for (from, to) in [
        ("| `A` | `8` | x |\n", ""),
        ("0.6", "0.7"),
        ("0.05", "0.08"),
        ("`loss`", "`gain`"),
        ("| `B`", "| `Z` | `1` | x |\n| `B`"),
    ] {
        let wrong = page(&right.replace(from, to));
        assert_eq!(differences(&wrong, "f.rs", source).len(), 1, "{from}");
    }
}

/// What docs/reliability.md counts is what the suite has.
#[test]
fn the_cases_of_the_suite_are_as_many_as_is_said() -> Result<()> {
    let page = tree::read("docs/reliability.md")?;
    let cases = tur_testkit::conformance::CASES.len();
    let said = format!("| conformance of transports: {cases} cases, ");
    let row = page.lines().find(|line| line.starts_with(&said));
    let row = row.with_context(|| format!("no row begins with \"{said}\""))?;
    // One transport of three, three, two, one and one settings.
    assert!(row.contains(&format!("| {} passed;", 10 * cases)), "{row}");
    Ok(())
}
