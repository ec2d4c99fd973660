use super::{BenchSpec, Kinds, RowSpec, SettingsPatch, TableKind};
use harness_contract::config::{ConfigError, Document, Problem};

/// A bench file: its own bench, or a view of others.
#[derive(Clone, Debug, PartialEq)]
pub enum BenchFile {
    /// Rows and settings of its own.
    Own(Box<BenchSpec>),
    /// Rows of other benches.
    Same(SameSpec),
}

/// A bench that takes rows, settings and results from others (`same_as`): its cells are theirs.
#[derive(Clone, Debug, PartialEq)]
pub struct SameSpec {
    /// Its name: the file's stem.
    pub name: String,
    /// The file, for messages.
    pub origin: String,
    /// One line about it.
    pub title: String,
    /// The other benches.
    pub same_as: Vec<String>,
    /// How rows of results are derived; as in the first of the others when absent.
    pub table: Option<TableKind>,
    /// The rows it takes, by SAE set or `MODEL/SET`; all when absent.
    pub rows: Option<Vec<String>>,
}

impl BenchFile {
    /// Read the text of a bench file; `name` is its stem and `origin` its path for messages, `all`
    /// the kinds there are.
    ///
    /// # Errors
    /// Everything that is wrong with it, located.
    pub fn parse(
        name: &str,
        origin: &str,
        text: &str,
        all: Kinds,
    ) -> Result<BenchFile, ConfigError> {
        let doc = Document::new(origin, text);
        let parsed = doc.parse()?;
        let root = doc.root(&parsed);
        if !root.has("same_as") {
            let spec = BenchSpec::read(name, origin, &doc, root, all)?;
            return Ok(BenchFile::Own(Box::new(spec)));
        }
        let title = root.required("title", root.string("title"));
        let same = SameSpec {
            name: name.to_owned(),
            origin: origin.to_owned(),
            title: title.unwrap_or_default(),
            same_as: root.one_or_more("same_as").unwrap_or_default(),
            table: root.choice("table", &TableKind::named(all)),
            rows: root.string_list("rows"),
        };
        root.finish();
        ConfigError::check(doc.take_problems())?;
        Ok(BenchFile::Same(same))
    }
}

impl SameSpec {
    /// The bench, given those it is the same as. Settings of the first count where several have
    /// one.
    ///
    /// # Errors
    /// Rows that none of them has, and a table that cannot be derived from their rows.
    pub fn of(&self, bases: Vec<BenchSpec>) -> Result<BenchSpec, ConfigError> {
        let fail = |message: String, hint: String| ConfigError {
            problems: vec![Problem::new(&self.origin, message, hint)],
        };
        let mut bases = bases.into_iter();
        let Some(mut spec) = bases.next() else {
            return Err(fail("`same_as` is empty".to_owned(), String::new()));
        };
        for other in bases {
            let join = |ours: &SettingsPatch, theirs: &SettingsPatch| ours.or(theirs);
            spec.settings = join(&spec.settings, &other.settings);
            spec.zoo = join(&spec.zoo, &other.zoo);
            spec.real = join(&spec.real, &other.real);
            spec.rows.extend(other.rows);
        }
        if let Some(names) = &self.rows {
            if let Some(unknown) = names
                .iter()
                .find(|name| !spec.rows.iter().any(|row| row.is_called(name)))
            {
                let known = spec.sae_sets();
                let hint = harness_core::suggest::hint(unknown, known.iter().copied());
                let message = format!("no row of {} is `{unknown}`", self.same_as.join(", "));
                return Err(fail(message, hint));
            }
            let is_named = |row: &RowSpec| names.iter().any(|name| row.is_called(name));
            spec.rows.retain(is_named);
            let is_varied = |set: &String| spec.rows.iter().any(|row| row.sae == *set);
            spec.variants.retain(|variant| is_varied(&variant.sae));
        }
        let table = self.table.unwrap_or(spec.table);
        let kinds = spec.kinds();
        if let Some(kind) = kinds.iter().find(|kind| !table.fits(**kind)) {
            let message = format!(
                "its table cannot be derived from rows of {} bench",
                kind.a_name()
            );
            return Err(fail(message, String::new()));
        }
        if table.has_variants() == spec.variants.is_empty() {
            let message =
                "its table is `variants` exactly when the bench it is the same as has variants";
            return Err(fail(message.to_owned(), String::new()));
        }
        spec.name.clone_from(&self.name);
        spec.origin.clone_from(&self.origin);
        spec.title.clone_from(&self.title);
        spec.table = table;
        spec.views.clear();
        Ok(spec)
    }
}
