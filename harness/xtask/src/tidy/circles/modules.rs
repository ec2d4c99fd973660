//! The modules of a crate: what each defines, what it imports, and where a path leads.

use std::collections::{BTreeMap, BTreeSet};

use syn::{Item, ItemUse, UseTree, Visibility};

use crate::source::module_path;

/// Aliases of aliases that are followed; beyond that they run in a circle of their own.
const MOST_ALIASES: usize = 16;

/// A file with its items.
pub struct File<'s> {
    pub path: &'s str,
    pub syntax: syn::File,
}

impl File<'_> {
    /// Whether this is the file of the module at a path as `module_path` gives it.
    fn is_module(&self, place: &str) -> bool {
        let inside = self.path.strip_prefix(place);
        matches!(inside, Some(".rs" | "/mod.rs"))
    }
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Module(usize),
    /// An item, by the number of its file and its name.
    Item(usize, String),
}

/// A `use` of one name, or of all names of a module.
#[derive(Debug)]
pub struct Import {
    /// The name it gives; none where it takes all.
    pub name: Option<String>,
    pub path: Vec<String>,
    /// Handed on to others.
    pub public: bool,
}

#[derive(Debug)]
pub struct Module {
    /// The number of its file.
    pub file: usize,
    parent: Option<usize>,
    root: usize,
    /// Inline and declared modules by name.
    pub children: BTreeMap<String, usize>,
    items: BTreeSet<String>,
    pub imports: Vec<Import>,
    /// Where the files of its children lie, as `module_path` takes it.
    place: String,
}

/// All modules of a crate.
#[derive(Debug, Default)]
pub struct Modules {
    pub all: Vec<Module>,
    /// Macros by name, with their file: they are known by their place in the text, not by path.
    pub macros: BTreeMap<String, usize>,
    /// The library's root, by the name under which programs of the same crate know it.
    library: Option<(String, usize)>,
}

impl Modules {
    /// Reads the modules of a crate from its roots: library, program, programs in src/bin.
    pub fn read(folder: &str, library: &str, files: &[File]) -> Self {
        let mut modules = Self::default();
        let source = format!("{folder}/src/");
        for (number, file) in files.iter().enumerate() {
            match file.path.strip_prefix(&source) {
                Some("lib.rs") => modules.library = Some((library.to_owned(), modules.all.len())),
                Some("main.rs") => {}
                Some(inside) if inside.starts_with("bin/") && inside.matches('/').count() == 1 => {}
                _ => continue,
            }
            modules.add(
                number,
                None,
                file.path.to_owned(),
                &file.syntax.items,
                files,
            );
        }
        modules
    }

    fn add(
        &mut self,
        file: usize,
        parent: Option<usize>,
        place: String,
        items: &[Item],
        files: &[File],
    ) -> usize {
        let own = self.all.len();
        self.all.push(Module {
            file,
            parent,
            root: parent.map_or(own, |parent| self.all[parent].root),
            children: BTreeMap::new(),
            items: BTreeSet::new(),
            imports: Vec::new(),
            place,
        });
        for item in items {
            self.take(own, item, files);
        }
        own
    }

    fn take(&mut self, own: usize, item: &Item, files: &[File]) {
        let file = self.all[own].file;
        let name = match item {
            Item::Const(item) => &item.ident,
            Item::Enum(item) => &item.ident,
            Item::Fn(item) => &item.sig.ident,
            Item::Static(item) => &item.ident,
            Item::Struct(item) => &item.ident,
            Item::Trait(item) => &item.ident,
            Item::Type(item) => &item.ident,
            Item::Union(item) => &item.ident,
            Item::Macro(item) => {
                if let Some(name) = &item.ident {
                    self.macros.insert(name.to_string(), file);
                }
                return;
            }
            Item::Use(item) => return self.all[own].imports.extend(imports(item)),
            Item::Mod(item) => {
                let name = item.ident.to_string();
                let place = module_path(&self.all[own].place, &name);
                let child = match &item.content {
                    Some((_, items)) => self.add(file, Some(own), place, items, files),
                    None => {
                        let declared = declared_path(item, files[file].path);
                        let lies = |file: &File| match &declared {
                            Some(path) => file.path == path,
                            None => file.is_module(&place),
                        };
                        let Some(found) = files.iter().position(lies) else {
                            return;
                        };
                        let place = files[found].path.to_owned();
                        self.add(found, Some(own), place, &files[found].syntax.items, files)
                    }
                };
                self.all[own].children.insert(name, child);
                return;
            }
            _ => return,
        };
        self.all[own].items.insert(name.to_string());
    }

    /// Where a path that stands in a module leads, if it leads to something of this crate.
    pub fn resolve(&self, from: usize, path: &[String]) -> Option<Target> {
        self.follow(from, path, MOST_ALIASES)
    }

    fn follow(&self, from: usize, path: &[String], aliases: usize) -> Option<Target> {
        let (first, mut rest) = path.split_first()?;
        let module = &self.all[from];
        let mut target = match first.as_str() {
            "crate" => Target::Module(module.root),
            "self" => Target::Module(from),
            "super" => Target::Module(module.parent?),
            name => match self.lookup(from, name, !rest.is_empty(), aliases) {
                Some(target) => target,
                None => match &self.library {
                    Some((library, root)) if library == name => Target::Module(*root),
                    _ => return None,
                },
            },
        };
        while let (Target::Module(module), Some((next, after))) = (&target, rest.split_first()) {
            target = match next.as_str() {
                "super" => Target::Module(self.all[*module].parent?),
                "self" => Target::Module(*module),
                name => self.lookup(*module, name, !after.is_empty(), aliases)?,
            };
            rest = after;
        }
        Some(target)
    }

    /// What a name means in a module. A module and a function may have one name: `more` says that
    /// the path goes on, which means the module.
    fn lookup(&self, within: usize, name: &str, more: bool, aliases: usize) -> Option<Target> {
        let aliases = aliases.checked_sub(1)?;
        let module = &self.all[within];
        let mut found = Vec::new();
        if module.items.contains(name) {
            found.push(Target::Item(module.file, name.to_owned()));
        }
        found.extend(module.children.get(name).copied().map(Target::Module));
        let named = |import: &&Import| import.name.as_deref() == Some(name);
        // `use serde_json;` leads out of the crate, not to itself.
        let elsewhere = |import: &&Import| import.path != [name] && import.path != [name, "self"];
        for import in module.imports.iter().filter(named).filter(elsewhere) {
            found.extend(self.follow(within, &import.path, aliases));
            let last = import.path.len() - 1;
            if let Some(Target::Module(parent)) = self.follow(within, &import.path[..last], aliases)
            {
                found.extend(self.lookup(parent, &import.path[last], true, aliases));
            }
        }
        let is_module = |target: &Target| matches!(target, Target::Module(_));
        if let Some(best) = found.iter().find(|target| is_module(target) == more) {
            return Some(best.clone());
        }
        if let Some(other) = found.pop() {
            return Some(other);
        }
        module
            .imports
            .iter()
            .filter(|import| import.name.is_none())
            .find_map(|glob| match self.follow(within, &glob.path, aliases)? {
                Target::Module(module) if module != within => {
                    self.lookup(module, name, more, aliases)
                }
                _ => None,
            })
    }
}

/// The file that `#[path = "…"]` names.
fn declared_path(item: &syn::ItemMod, file: &str) -> Option<String> {
    let value = item
        .attrs
        .iter()
        .find_map(|attribute| match &attribute.meta {
            syn::Meta::NameValue(pair) if pair.path.is_ident("path") => Some(&pair.value),
            _ => None,
        })?;
    let syn::Expr::Lit(syn::ExprLit {
        lit: syn::Lit::Str(path),
        ..
    }) = value
    else {
        return None;
    };
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    Some(format!("{folder}/{}", path.value()))
}

fn imports(item: &ItemUse) -> Vec<Import> {
    let mut found = Vec::new();
    let public = !matches!(item.vis, Visibility::Inherited);
    flatten(&item.tree, Vec::new(), public, &mut found);
    found
}

fn flatten(tree: &UseTree, mut path: Vec<String>, public: bool, found: &mut Vec<Import>) {
    let mut add = |name: Option<String>, path| found.push(Import { name, path, public });
    match tree {
        UseTree::Path(inner) => {
            path.push(inner.ident.to_string());
            flatten(&inner.tree, path, public, found);
        }
        UseTree::Group(group) => {
            for inner in &group.items {
                flatten(inner, path.clone(), public, found);
            }
        }
        UseTree::Glob(_) => add(None, path),
        // The `self` stays in the path: it means the module and no function of the same name.
        UseTree::Name(leaf) if leaf.ident == "self" => {
            let name = path.last().cloned();
            path.push("self".to_owned());
            add(name, path);
        }
        UseTree::Name(leaf) => {
            path.push(leaf.ident.to_string());
            add(path.last().cloned(), path);
        }
        UseTree::Rename(leaf) => {
            path.push(leaf.ident.to_string());
            add(Some(leaf.rename.to_string()), path);
        }
    }
}
