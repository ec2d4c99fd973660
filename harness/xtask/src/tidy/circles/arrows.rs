//! Which file takes which names of which other file.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

use super::modules::{File, Module, Modules, Target};

/// The names that a file takes, by the numbers of both files.
pub type Arrows = BTreeMap<(usize, usize), BTreeSet<String>>;

/// Reads all files of a crate.
pub fn read(modules: &Modules, files: &[File]) -> Arrows {
    let mut reader = Reader {
        modules,
        own: 0,
        arrows: Arrows::new(),
    };
    for (number, module) in modules.all.iter().enumerate() {
        reader.own = number;
        for import in module.imports.iter().filter(|import| !import.public) {
            reader.note(&import.path);
        }
    }
    for (number, module) in modules.all.iter().enumerate() {
        // Inline modules are visited with the file that they stand in.
        let is_inline = |parent: &Module| {
            parent.file == module.file && parent.children.values().any(|child| *child == number)
        };
        if !modules.all.iter().any(is_inline) {
            reader.own = number;
            reader.visit_file(&files[module.file].syntax);
        }
    }
    reader.arrows
}

struct Reader<'m> {
    modules: &'m Modules,
    /// The module in which the reader stands.
    own: usize,
    arrows: Arrows,
}

impl Reader<'_> {
    fn note(&mut self, path: &[String]) {
        if let Some(Target::Item(file, name)) = self.modules.resolve(self.own, path) {
            self.add(file, name);
        }
    }

    fn add(&mut self, file: usize, name: String) {
        let own = self.modules.all[self.own].file;
        if own != file {
            self.arrows.entry((own, file)).or_default().insert(name);
        }
    }

    fn note_macro(&mut self, name: &str) {
        if let Some(file) = self.modules.macros.get(name) {
            self.add(*file, format!("{name}!"));
        }
    }

    /// Notes the paths among the tokens of a macro's call or of an attribute. A name alone is one
    /// only where `alone` says so: in an attribute `long` and `default` are words of the attribute.
    fn tokens(&mut self, tokens: TokenStream, alone: bool) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is = |at: usize, character: char| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == character);
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => self.tokens(group.stream(), alone),
                TokenTree::Ident(first) => {
                    let before = at;
                    let mut path = vec![first.to_string()];
                    while is(at + 1, ':')
                        && is(at + 2, ':')
                        && let Some(TokenTree::Ident(next)) = tokens.get(at + 3)
                    {
                        path.push(next.to_string());
                        at += 3;
                    }
                    let is_field =
                        before > 0 && is(before - 1, '.') && !is(before.wrapping_sub(2), '.');
                    let is_value = before > 0 && is(before - 1, '=');
                    if !is_field && (path.len() > 1 || alone || is_value) {
                        self.note(&path);
                    }
                    if let ([name], true) = (path.as_slice(), is(at + 1, '!')) {
                        self.note_macro(name);
                    }
                }
                _ => {}
            }
            at += 1;
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let child = self.modules.all[self.own]
            .children
            .get(&item.ident.to_string());
        if let (Some(child), Some(_)) = (child, &item.content) {
            let outer = std::mem::replace(&mut self.own, *child);
            visit::visit_item_mod(self, item);
            self.own = outer;
        }
    }

    /// Imports of modules are noted once for the whole file; `pub(in path)` names no item.
    fn visit_item_use(&mut self, _: &'ast syn::ItemUse) {}

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let names: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
            self.note(&names);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if let Some(name) = call.path.segments.last() {
            self.note_macro(&name.ident.to_string());
        }
        self.tokens(call.tokens.clone(), true);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.tokens(list.tokens.clone(), false);
        }
    }
}
