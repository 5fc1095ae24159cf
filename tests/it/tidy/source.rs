//! Reads the project's files for the rules in `tidy`: a scanner that knows just enough Rust to
//! tell code from comments and texts.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// A Rust file, split into what the compiler sees.
pub struct Source {
    /// From the root of the project, with `/`.
    pub path: String,
    pub text: String,
    /// The text with comments and the inside of literals as blanks; lines stay where they are.
    pub code: String,
    /// The inside of string literals, with their lines.
    pub strings: Vec<(usize, String)>,
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below a directory of the project, in order; not what is built, stored or hidden.
pub fn files(below: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root().join(below)];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let skipped = ["target", "data", "node_modules", "dist", ".git"];
            match path.is_dir() {
                _ if skipped.contains(&name.as_str()) => {}
                true => open.push(path),
                false => found.push(relative(&path)),
            }
        }
    }
    found.sort();
    found
}

/// The Rust files below a directory; read once for all rules.
pub fn sources(below: &str) -> Vec<&'static Source> {
    static ALL: LazyLock<Vec<Source>> = LazyLock::new(|| {
        let all = ["src", "tests", "benches"].into_iter().flat_map(files);
        let rust = all.filter(|path| path.ends_with(".rs"));
        rust.map(|path| Source::new(path.clone(), read(&path)))
            .collect()
    });
    ALL.iter()
        .filter(|source| source.path.split('/').next() == Some(below))
        .collect()
}

pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_default()
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap()
        .to_string_lossy()
        .replace('\\', "/")
}

impl Source {
    pub fn new(path: String, text: String) -> Self {
        let mut scanner = Scanner {
            rest: text.chars().collect(),
            at: 0,
            line: 1,
        };
        let (code, strings) = scanner.scan();
        Self {
            path,
            text,
            code,
            strings,
        }
    }

    /// The module at the top of the crate this file belongs to, such as `store`.
    pub fn module(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or_default();
        inside.split(['/', '.']).next().unwrap_or_default()
    }

    /// How far below the crate's root: 1 for `src/run.rs`.
    pub fn depth(&self) -> usize {
        self.path.matches('/').count()
    }

    /// `path:line` of every place where a path or word stands in the code.
    pub fn places<'a>(&'a self, word: &'a str) -> impl Iterator<Item = String> + 'a {
        let lines = self.code.lines().enumerate();
        lines
            .filter(move |(_, line)| has_word(line, word))
            .map(|(index, _)| self.at(index + 1))
    }

    pub fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path)
    }
}

/// Whether the word stands there, not as a part of a longer name.
pub fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let starts_open = !word.starts_with(part);
    let ends_open = !word.ends_with(part);
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        (starts_open || !before.is_some_and(part)) && (ends_open || !after.is_some_and(part))
    })
}

struct Scanner {
    rest: Vec<char>,
    at: usize,
    line: usize,
}

impl Scanner {
    fn scan(&mut self) -> (String, Vec<(usize, String)>) {
        let mut code = String::new();
        let mut strings = Vec::new();
        while let Some(c) = self.peek(0) {
            let line = self.line;
            let skipped = match c {
                '/' if self.peek(1) == Some('/') => self.until_line_end(),
                '/' if self.peek(1) == Some('*') => self.block_comment(),
                '"' => {
                    let text = self.string();
                    strings.push((line, text.clone()));
                    text
                }
                'r' if self.raw_hashes().is_some() && !ends_in_name(&code) => {
                    let text = self.raw_string();
                    strings.push((line, text.clone()));
                    text
                }
                '\'' => self.character(),
                _ => {
                    self.next();
                    code.push(c);
                    continue;
                }
            };
            code.push(' ');
            code.extend(skipped.chars().filter(|c| *c == '\n'));
        }
        (code, strings)
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.rest.get(self.at + ahead).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek(0)?;
        self.at += 1;
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn take(&mut self, count: usize) {
        for _ in 0..count {
            self.next();
        }
    }

    fn until_line_end(&mut self) -> String {
        while self.peek(0).is_some_and(|c| c != '\n') {
            self.next();
        }
        String::new()
    }

    fn block_comment(&mut self) -> String {
        let mut depth = 0;
        let mut text = String::new();
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => depth += 1,
                (Some('*'), Some('/')) => depth -= 1,
                (None, _) => return text,
                (Some(c), _) => {
                    text.push(c);
                    self.next();
                    continue;
                }
            }
            self.take(2);
            if depth == 0 {
                return text;
            }
        }
    }

    fn string(&mut self) -> String {
        self.next();
        let mut text = String::new();
        while let Some(c) = self.next() {
            match c {
                '"' => break,
                '\\' => text.extend(self.next().filter(|c| matches!(c, '\n' | '"'))),
                c => text.push(c),
            }
        }
        text
    }

    /// The number of `#` of a raw string that starts here.
    fn raw_hashes(&self) -> Option<usize> {
        let hashes = (1..)
            .take_while(|ahead| self.peek(*ahead) == Some('#'))
            .count();
        (self.peek(hashes + 1) == Some('"')).then_some(hashes)
    }

    fn raw_string(&mut self) -> String {
        let hashes = self.raw_hashes().unwrap_or_default();
        self.take(hashes + 2);
        let mut text = String::new();
        while let Some(c) = self.next() {
            if c == '"' && (0..hashes).all(|ahead| self.peek(ahead) == Some('#')) {
                self.take(hashes);
                break;
            }
            text.push(c);
        }
        text
    }

    /// A character literal, or the quote of a lifetime.
    fn character(&mut self) -> String {
        match (self.peek(1), self.peek(2)) {
            (Some('\\'), _) => {
                self.take(3);
                while self.next().is_some_and(|c| c != '\'') {}
            }
            (Some(_), Some('\'')) => self.take(3),
            _ => self.take(1),
        }
        String::new()
    }
}

/// Whether an `r` here would be the end of a name, or of the prefix `br`.
fn ends_in_name(code: &str) -> bool {
    let mut back = code.chars().rev();
    let part = |c: char| c.is_alphanumeric() || c == '_';
    match back.next() {
        Some('b' | 'c') => back.next().is_some_and(part),
        Some(c) => part(c),
        None => false,
    }
}
