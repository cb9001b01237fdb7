//! Rust source as text in which a rule sees only code: comments, literals and tests can be blanked out.
//!
//! [`Source`] is a file with its code; [`Source::functions`] lists the functions in it. This is a scanner, not a
//! parser: it knows where comments and literals begin and end and which brace closes which, and no more.

/// A source file: its path from the root of the repository, its text, and its text with nothing but code in it.
#[derive(Clone, Debug)]
pub struct Source {
    /// Path from the root of the repository, with `/` between its parts.
    pub path: String,
    /// What stands in the file.
    pub text: String,
    /// The text with comments as spaces and the inside of literals as dots; lines stay where they are.
    pub code: String,
}

/// A function with a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of its `fn`, from 1.
    pub line: usize,
    /// Lines of code between its braces; blank lines and comments do not count.
    pub lines: usize,
    /// What stands before it since the last `;`, `{` or `}`: attributes, visibility, qualifiers.
    pub head: String,
}

impl Source {
    /// Takes a file apart.
    #[must_use]
    pub fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code: code_only(text),
        }
    }

    /// The code without items under `#[cfg(test)]`.
    #[must_use]
    pub fn code_without_tests(&self) -> String {
        without_tests(&self.code)
    }

    /// The functions in the file, tests included, in the order they stand in.
    #[must_use]
    pub fn functions(&self) -> Vec<Function> {
        words(&self.code, "fn")
            .filter_map(|at| function_at(&self.code, at))
            .collect()
    }

    /// The tests in the file, as the test program calls them: `tur_net::dial::tests::a_good_first_address`.
    #[must_use]
    pub fn tests(&self) -> Vec<String> {
        let file = module_path(&self.path);
        let is_test = |at: &usize| {
            let function = function_at(&self.code, *at);
            function.is_some_and(|f| TEST_MARKS.iter().any(|mark| f.head.contains(mark)))
        };
        words(&self.code, "fn")
            .filter(is_test)
            .map(|at| {
                let inside = modules_around(&self.code, at);
                let name = name_after(&self.code, at + "fn".len());
                let parts = file.iter().map(String::as_str).chain(inside).chain([name]);
                parts.collect::<Vec<_>>().join("::")
            })
            .collect()
    }

    /// True if another of these files declares this one as a module of its tests: `#[cfg(test)] mod tests;`.
    #[must_use]
    pub fn is_test_only(&self, files: &[Source]) -> bool {
        files.iter().any(|file| {
            test_modules(file).iter().any(|module| {
                self.path == format!("{module}.rs") || self.path.starts_with(&format!("{module}/"))
            })
        })
    }

    /// The line, from 1, of a byte offset of the code.
    #[must_use]
    pub fn line_of(&self, at: usize) -> usize {
        line_of(&self.code, at)
    }
}

/// What makes a function a test.
const TEST_MARKS: [&str; 2] = ["#[test]", "#[tokio::test"];

/// The module that a file is, from its crate on. An integration test is a crate of its own, which is named here below
/// the one that it belongs to.
fn module_path(path: &str) -> Vec<String> {
    let mut parts: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
    if parts.first() == Some(&"crates") {
        parts.remove(0);
    }
    if parts.len() > 1 && ["src", "tests"].contains(&parts[1]) {
        parts.remove(1);
    }
    if matches!(parts.last(), Some(&("lib" | "main" | "mod"))) {
        parts.pop();
    }
    parts.iter().map(|part| part.replace('-', "_")).collect()
}

/// Names of the inline modules around a byte offset, the outermost first.
fn modules_around(code: &str, at: usize) -> impl Iterator<Item = &str> {
    words(code, "mod").filter_map(move |start| {
        let open = body_start(code, start)?;
        (open < at && at < closing_brace(code, open)).then(|| name_after(code, start + "mod".len()))
    })
}

/// Paths, without their ending, of the modules in other files that a file declares under `#[cfg(test)]`.
fn test_modules(file: &Source) -> Vec<String> {
    let stem = file.path.trim_end_matches(".rs");
    let directory = ["/lib", "/main", "/mod"]
        .iter()
        .find_map(|name| stem.strip_suffix(name))
        .unwrap_or(stem);
    file.code
        .match_indices("#[cfg(test)]")
        .filter_map(|(at, mark)| {
            file.code[at + mark.len()..]
                .trim_start()
                .strip_prefix("mod ")
        })
        .filter_map(|rest| rest.split_once(';'))
        .filter(|(name, _)| name.chars().all(is_name))
        .map(|(name, _)| format!("{directory}/{name}"))
        .collect()
}

/// Byte offsets at which `word` stands by itself, not as a part of a longer name.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).filter_map(move |(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        (!before.is_some_and(is_name) && !after.is_some_and(is_name)).then_some(at)
    })
}

/// Every path that a `use` item of this code brings in, with groups spread out and new names left away:
/// `use a::{b, c::d as e}` is `a::b` and `a::c::d`.
#[must_use]
pub fn imports(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for at in words(code, "use") {
        let Some(end) = code[at..].find(';') else {
            continue;
        };
        let mut pieces = code[at + "use".len()..at + end].split(" as ");
        let first = pieces.next().unwrap_or("");
        let tree: String = std::iter::once(first)
            .chain(pieces.map(|piece| piece.trim_start().trim_start_matches(is_name)))
            .flat_map(str::chars)
            .filter(|c| !c.is_whitespace())
            .collect();
        spread("", &tree, &mut paths);
    }
    paths
}

fn spread(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    match tree.split_once('{') {
        None => paths.push(format!("{prefix}{tree}")),
        Some((head, rest)) => {
            let prefix = format!("{prefix}{head}");
            let inside = rest.strip_suffix('}').unwrap_or(rest);
            for part in split_at_top(inside) {
                spread(&prefix, part, paths);
            }
        }
    }
}

fn split_at_top(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0_usize, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[start..]);
    parts.retain(|part| !part.is_empty());
    parts
}

fn function_at(code: &str, at: usize) -> Option<Function> {
    let name = name_after(code, at + "fn".len()).to_owned();
    if name.is_empty() {
        return None;
    }
    let open = body_start(code, at)?;
    let close = closing_brace(code, open);
    let head = code[..at].rfind([';', '{', '}']).map_or(0, |at| at + 1);
    Some(Function {
        name,
        line: line_of(code, at),
        lines: code[open + 1..close]
            .lines()
            .filter(|line| !line.trim().is_empty())
            .count(),
        head: code[head..at].to_owned(),
    })
}

/// The name that comes next after a keyword.
fn name_after(code: &str, end: usize) -> &str {
    let rest = code[end..].trim_start();
    let len = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
    &rest[..len]
}

/// The `{` that opens the body of the item at `at`; `None` if a `;` or the end of its surroundings comes first.
fn body_start(code: &str, at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (offset, c) in code[at..].char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '{' if depth == 0 => return Some(at + offset),
            ';' | '}' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

fn closing_brace(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return open + offset;
                }
            }
            _ => {}
        }
    }
    code.len()
}

fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    for mark in ["#[cfg(test)]", "#[cfg(all(test,"] {
        while let Some(at) = out.find(mark) {
            let end = match body_start(&out, at) {
                Some(open) => (closing_brace(&out, open) + 1).min(out.len()),
                None => out[at..].find([';', '}']).map_or(out.len(), |n| at + n),
            };
            let blank: String = out[at..end]
                .chars()
                .map(|c| if c == '\n' { c } else { ' ' })
                .collect();
            out.replace_range(at..end, &blank);
        }
    }
    out
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn code_only(text: &str) -> String {
    let mut scan = Scan {
        chars: text.chars().collect(),
        at: 0,
        out: String::with_capacity(text.len()),
    };
    while scan.at < scan.chars.len() {
        scan.step();
    }
    scan.out
}

/// Where the scanner stands, and what it has let through.
struct Scan {
    chars: Vec<char>,
    at: usize,
    out: String,
}

impl Scan {
    fn step(&mut self) {
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => self.blank_while(|scan| scan.peek(0) != '\n'),
            ('/', '*') => self.comment(),
            ('"', _) => self.string(),
            ('\'', '\\') => self.quoted('\''),
            ('\'', _) if self.peek(2) == '\'' => self.quoted('\''),
            ('r', '"' | '#') if !self.in_name() => self.raw_string(),
            _ => self.keep(),
        }
    }

    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    /// True inside a name; the `b` and `c` of `br"…"` and `cr"…"` are no names.
    fn in_name(&self) -> bool {
        let before = |n: usize| self.at.checked_sub(n).map(|at| self.chars[at]);
        match before(1) {
            Some('b' | 'c') => before(2).is_some_and(is_name),
            other => other.is_some_and(is_name),
        }
    }

    fn keep(&mut self) {
        self.out.push(self.peek(0));
        self.at += 1;
    }

    fn hide(&mut self, with: char) {
        self.out
            .push(if self.peek(0) == '\n' { '\n' } else { with });
        self.at += 1;
    }

    fn blank_while(&mut self, more: impl Fn(&Self) -> bool) {
        while self.at < self.chars.len() && more(self) {
            self.hide(' ');
        }
    }

    fn comment(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.chars.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    self.hide(' ');
                    continue;
                }
            }
            self.hide(' ');
            self.hide(' ');
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.quoted('"');
    }

    fn quoted(&mut self, quote: char) {
        self.keep();
        while self.at < self.chars.len() && self.peek(0) != quote {
            if self.peek(0) == '\\' {
                self.hide('.');
            }
            if self.at < self.chars.len() {
                self.hide('.');
            }
        }
        if self.at < self.chars.len() {
            self.keep();
        }
    }

    fn raw_string(&mut self) {
        self.keep();
        let hashes = (0..).take_while(|&n| self.peek(n) == '#').count();
        if self.peek(hashes) != '"' {
            return;
        }
        for _ in 0..=hashes {
            self.keep();
        }
        let closes =
            |scan: &Self| scan.peek(0) == '"' && (1..=hashes).all(|ahead| scan.peek(ahead) == '#');
        while self.at < self.chars.len() && !closes(self) {
            self.hide('.');
        }
        for _ in 0..=hashes {
            if self.at < self.chars.len() {
                self.keep();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Source::new("x.rs", text).code
    }

    #[test]
    fn comments_and_literals_are_hidden_and_lines_stay() {
        assert_eq!(code("a // unsafe\nb"), "a          \nb");
        assert_eq!(
            code("a /* x /* unsafe */ y\n */ b").trim_end(),
            format!("a{}\n    b", " ".repeat(20))
        );
        assert_eq!(
            code(r#"f("un\"safe", '"', b'\'')"#),
            r#"f("........", '.', b'..')"#
        );
        assert_eq!(code("r#\"a\"\nb\"# c"), "r#\"..\n.\"# c");
        assert_eq!(code("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
        assert_eq!(
            code("let r#type = 1; for x in y {}"),
            "let r#type = 1; for x in y {}"
        );
        assert_eq!(code("br\"unsafe\" + cr#\"x\"#"), "br\"......\" + cr#\".\"#");
    }

    #[test]
    fn unfinished_literals_do_not_run_past_the_end() {
        for text in [
            "\"abc",
            "\"abc\\",
            "r##\"abc\"#",
            "/* /* */",
            "'\\",
            "b'",
            "r#",
        ] {
            assert_eq!(code(text).chars().count(), text.chars().count(), "{text}");
        }
    }

    #[test]
    fn words_stand_alone() {
        assert_eq!(words("unsafe unsafe_code not_unsafe", "unsafe").count(), 1);
    }

    #[test]
    fn tests_are_cut_out_of_the_code() {
        let source = Source::new(
            "x.rs",
            "#[cfg(test)]\nextern crate std;\nfn a() { b() }\n#[cfg(test)]\nmod tests { fn c() { std::d() } }\nfn e() {}",
        );
        let rest = source.code_without_tests();
        assert!(rest.contains("fn a()") && rest.contains("fn e()"), "{rest}");
        assert!(!rest.contains("std"), "{rest}");
        assert_eq!(rest.lines().count(), source.code.lines().count());
    }

    #[test]
    fn functions_have_names_lines_and_heads() {
        let source = Source::new(
            "x.rs",
            "struct S;\n#[inline]\npub fn one(a: [u8; 2]) -> u8 {\n    // why\n\n    a[0]\n}\ntrait T { fn two(); }\ntype F = fn(u8);\n",
        );
        assert_eq!(
            source.functions(),
            [Function {
                name: "one".into(),
                line: 3,
                lines: 1,
                head: "\n#[inline]\npub ".into(),
            }]
        );
    }

    #[test]
    fn modules_of_tests_are_known_by_their_parent() {
        let parent = Source::new(
            "a/src/lib.rs",
            "#[cfg(test)]\nmod proof;\nmod code;\n#[cfg(test)]\nmod inner { mod x; }",
        );
        let nested = Source::new("a/src/code.rs", "#[cfg(test)]\nmod deep;");
        let files = [parent, nested];
        let test_only = |path: &str| Source::new(path, "").is_test_only(&files);
        assert!(
            test_only("a/src/proof.rs")
                && test_only("a/src/proof/x.rs")
                && test_only("a/src/code/deep.rs")
        );
        assert!(
            !test_only("a/src/code.rs") && !test_only("a/src/x.rs") && !test_only("b/src/proof.rs")
        );
    }

    #[test]
    fn tests_are_named_as_the_test_program_calls_them() {
        let text = "mod a;\n#[test]\nfn one() {}\n/// Words.\n#[tokio::test(start_paused = true)]\nasync fn two() {}\n\
            fn no_test() {}\n#[cfg(test)]\nmod tests {\n mod deep { #[test] fn three() { fn inner() {} } }\n\
            // #[test] fn four() {}\n #[test]\n fn five() {}\n}\n";
        for (path, at) in [
            ("crates/tur-a/src/b/c.rs", "tur_a::b::c"),
            ("crates/tur-a/src/b/mod.rs", "tur_a::b"),
            ("crates/tur-a/src/lib.rs", "tur_a"),
            ("crates/tur-a/tests/it/main.rs", "tur_a::it"),
            ("crates/tur-a/tests/it/d.rs", "tur_a::it::d"),
            ("xtask/tests/tidy.rs", "xtask::tidy"),
        ] {
            let expected = ["one", "two", "tests::deep::three", "tests::five"];
            let expected = expected.map(|name| format!("{at}::{name}"));
            assert_eq!(Source::new(path, text).tests(), expected);
        }
    }

    #[test]
    fn imports_are_spread() {
        assert_eq!(
            imports("use a::b; pub use crate::{c, d::{e, f as g}, };"),
            ["a::b", "crate::c", "crate::d::e", "crate::d::f"]
        );
    }
}
