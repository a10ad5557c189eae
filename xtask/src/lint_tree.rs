//! Rules of this repository that neither rustc nor clippy knows. They look at tokens, so comments and strings don't
//! count.

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Group, Span, TokenStream, TokenTree};

use crate::Failure;

/// The only file of the library that may ask which platform it is compiled for.
const PLATFORM_FILE: &str = "src/backend/mod.rs";
/// Where the library may be unsafe.
const UNSAFE_PLACES: [&str; 3] = ["src/engine/", "src/backend/", "src/buf"];
const PLATFORM_WORDS: [&str; 7] =
    ["target_os", "target_family", "target_vendor", "target_env", "target_arch", "unix", "windows"];

const MOST_LINES: usize = 700;
const ECHO: &str = "examples/echo.rs";
const MOST_ECHO_LINES: usize = 45;

/// Whether the tree keeps the rules; prints where it doesn't.
pub fn run(root: &Path) -> Result<bool, Failure> {
    let mut complaints = Vec::new();
    let mut files = Vec::new();
    for directory in ["src", "tests", "proofs", "conformance", "examples", "bench", "xtask/src"] {
        collect(&root.join(directory), &mut files)?;
    }
    for file in &files {
        let name = file.strip_prefix(root)?.to_string_lossy().into_owned();
        let text = fs::read_to_string(file)?;
        check_length(&name, &text, &mut complaints);
        // A test of what doesn't compile may not even parse.
        match text.parse::<TokenStream>() {
            Ok(tokens) => check_tokens(&name, tokens, &mut complaints),
            Err(_) if name.starts_with("proofs/") => {}
            Err(error) => complaints.push(format!("{name}: {error}")),
        }
    }
    for complaint in &complaints {
        println!("{complaint}");
    }
    println!("lint-tree: {} files, {} complaints", files.len(), complaints.len());
    Ok(complaints.is_empty())
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn check_length(name: &str, text: &str, complaints: &mut Vec<String>) {
    let most = match name {
        ECHO => MOST_ECHO_LINES,
        name if name.starts_with("src/") => MOST_LINES,
        _ => return,
    };
    let lines = text.lines().count();
    if lines > most {
        complaints.push(format!("{name}: {lines} lines, at most {most} are allowed"));
    }
}

fn check_tokens(name: &str, tokens: TokenStream, complaints: &mut Vec<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut complain = |span: Span, what: &str| {
        complaints.push(format!("{name}:{}: {what}", span.start().line));
    };
    for (at, token) in tokens.iter().enumerate() {
        let TokenTree::Ident(word) = token else { continue };
        match word.to_string().as_str() {
            "unsafe" if !may_be_unsafe(name) => complain(word.span(), "`unsafe` has no place here"),
            unfinished @ ("todo" | "unimplemented") if is_macro_call(&tokens, at) => {
                complain(word.span(), &format!("`{unfinished}!`"));
            }
            "cfg" | "cfg_attr" if !may_ask_for_platform(name) && asks_for_platform(&tokens, at) => {
                complain(word.span(), &format!("only {PLATFORM_FILE} may ask which platform it is"));
            }
            _ => {}
        }
    }
    for (at, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else { continue };
        if is_ignore(&tokens[..at], group) {
            complaints.push(format!("{name}:{}: `#[ignore]`", group.span_open().start().line));
        }
        check_tokens(name, group.stream(), complaints);
    }
}

fn may_be_unsafe(name: &str) -> bool {
    !name.starts_with("src/") || UNSAFE_PLACES.iter().any(|place| name.starts_with(place))
}

fn may_ask_for_platform(name: &str) -> bool {
    !name.starts_with("src/") || name == PLATFORM_FILE
}

/// `word!(…)`, and not `word` as a name of something else.
fn is_macro_call(tokens: &[TokenTree], at: usize) -> bool {
    matches!(tokens.get(at + 1), Some(TokenTree::Punct(mark)) if mark.as_char() == '!')
}

/// Whether the `cfg(…)` or `cfg!(…)` at this place names a platform.
fn asks_for_platform(tokens: &[TokenTree], at: usize) -> bool {
    let behind = at + 1 + usize::from(is_macro_call(tokens, at));
    matches!(tokens.get(behind), Some(TokenTree::Group(group)) if names_platform(group))
}

fn names_platform(group: &Group) -> bool {
    group.stream().into_iter().any(|token| match token {
        TokenTree::Ident(word) => PLATFORM_WORDS.contains(&word.to_string().as_str()),
        TokenTree::Group(group) => names_platform(&group),
        _ => false,
    })
}

/// `#[ignore]`, also with a reason.
fn is_ignore(before: &[TokenTree], group: &Group) -> bool {
    matches!(before.last(), Some(TokenTree::Punct(mark)) if mark.as_char() == '#')
        && matches!(group.stream().into_iter().next(), Some(TokenTree::Ident(word)) if word == "ignore")
}
