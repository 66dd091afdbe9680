//! One kind as a row of data.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::schema::Schema;
use crate::table::Columns;
use crate::validate::Faults;
use crate::{GroupVersionKind, GroupVersionResource, Object};

use super::subresource::{ScalePaths, Subresource, UPDATE_VERBS};

/// Verbs of a kind that is stored.
pub const STANDARD_VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// Verbs of a kind that can only be read.
pub const READ_ONLY_VERBS: &[&str] = &["get", "list"];

/// Everything that the API knows of one version of one kind.
#[derive(Clone, Debug)]
pub struct KindRow {
    /// API group, empty for the core group.
    pub group: Cow<'static, str>,
    /// Version, as `v1`.
    pub version: Cow<'static, str>,
    /// Kind, as `Deployment`.
    pub kind: Cow<'static, str>,
    /// Kind of its lists, as `DeploymentList`.
    pub list_kind: Cow<'static, str>,
    /// Resource name, as `deployments`.
    pub plural: Cow<'static, str>,
    /// Resource name of one, as `deployment`.
    pub singular: Cow<'static, str>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Short names, as `deploy`.
    pub short_names: Vec<Cow<'static, str>>,
    /// Groups of resources that `kubectl get` knows, as `all`.
    pub categories: Vec<Cow<'static, str>>,
    /// Verbs that the resource answers to.
    pub verbs: &'static [&'static str],
    /// What hangs below an object.
    pub subresources: Vec<Subresource>,
    /// Table of the store, shared by all versions of a kind; empty when objects are answered and never stored.
    pub table: Arc<str>,
    /// `apiVersion` in which objects are stored.
    pub storage_version: Cow<'static, str>,
    /// Turns an object as stored into this version; does not look at `apiVersion`, which the row sets.
    pub from_storage: Convert,
    /// Turns an object of this version into the stored form.
    pub to_storage: Convert,
    /// What fields objects have, by type.
    pub schema: Schema,
    /// Where `scale` finds its numbers, when there is such a subresource.
    pub scale: Option<ScalePaths>,
    /// Dotted paths that field selectors may use besides `metadata.name` and `metadata.namespace`.
    pub selectable_fields: Vec<Cow<'static, str>>,
    /// Whether `metadata.generation` counts the changes of the wish.
    pub counts_generation: bool,
    /// What a table of such objects shows.
    pub columns: Columns,
    /// What is special about the kind.
    pub hooks: Hooks,
}

/// Changes an object from one version of its kind to another, in place.
pub type Convert = fn(&mut Object);

/// What is special about a kind, as functions of the row and the object.
#[derive(Clone, Copy)]
pub struct Hooks {
    /// Fills in what the user left open.
    pub default: fn(&KindRow, &mut Object),
    /// Sets what the server owns on a new object, after the general preparation.
    pub prepare_create: fn(&KindRow, &mut Object),
    /// Sets what the server owns on a changed object (`new`, then `old`), after the general preparation.
    pub prepare_update: fn(&KindRow, &mut Object, &Object),
    /// Finds what is wrong with an object.
    pub validate: fn(&KindRow, &Object, &mut Faults),
    /// Finds what is wrong with a new object, beyond what `validate` finds in any.
    pub validate_create: fn(&KindRow, &Object, &mut Faults),
    /// Finds what is wrong with the part that a subresource replaced: its name, `new`, then `old`.
    pub validate_part: fn(&KindRow, &str, &Object, &Object, &mut Faults),
    /// Finds what is wrong with a change (`new`, then `old`), beyond what `validate` finds in the new object.
    pub validate_update: fn(&KindRow, &Object, &Object, &mut Faults),
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            default: |_, _| (),
            prepare_create: |_, _| (),
            prepare_update: |_, _, _| (),
            validate: |_, _, _| (),
            validate_create: |_, _, _| (),
            validate_part: |_, _, _, _, _| (),
            validate_update: |_, _, _, _| (),
        }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooks")
    }
}

impl KindRow {
    /// A namespaced kind that is stored, with nothing special about it.
    pub fn new(
        group: impl Into<Cow<'static, str>>,
        version: impl Into<Cow<'static, str>>,
        kind: impl Into<Cow<'static, str>>,
        plural: impl Into<Cow<'static, str>>,
    ) -> Self {
        let (group, version) = (group.into(), version.into());
        let (kind, plural) = (kind.into(), plural.into());
        let resource = GroupVersionResource {
            group: group.clone().into_owned(),
            version: version.clone().into_owned(),
            resource: plural.clone().into_owned(),
        };
        Self {
            list_kind: format!("{kind}List").into(),
            singular: kind.to_lowercase().into(),
            namespaced: true,
            short_names: Vec::new(),
            categories: Vec::new(),
            verbs: STANDARD_VERBS,
            subresources: Vec::new(),
            table: resource.group_resource().into(),
            storage_version: resource.api_version().into(),
            from_storage: |_| (),
            to_storage: |_| (),
            schema: Schema::of_kind(&group, &version, &kind),
            scale: None,
            selectable_fields: Vec::new(),
            counts_generation: false,
            columns: Columns::NameAndAge,
            hooks: Hooks::default(),
            group,
            version,
            kind,
            plural,
        }
    }

    /// Objects live outside namespaces.
    #[must_use]
    pub fn cluster_wide(mut self) -> Self {
        self.namespaced = false;
        self
    }

    /// Adds short names.
    #[must_use]
    pub fn short(mut self, names: &[&'static str]) -> Self {
        self.short_names
            .extend(names.iter().map(|name| Cow::Borrowed(*name)));
        self
    }

    /// Is listed by `kubectl get all` and whatever other category is named.
    #[must_use]
    pub fn category(mut self, name: &'static str) -> Self {
        self.categories.push(name.into());
        self
    }

    /// Answers to other verbs than the standard ones.
    #[must_use]
    pub fn verbs(mut self, verbs: &'static [&'static str]) -> Self {
        self.verbs = verbs;
        self
    }

    /// Is answered and never stored.
    #[must_use]
    pub fn not_stored(mut self, verbs: &'static [&'static str]) -> Self {
        self.verbs = verbs;
        self.table = "".into();
        self
    }

    /// Has a `status` that only the subresource of that name changes.
    #[must_use]
    pub fn status(mut self) -> Self {
        let status = Subresource {
            name: "status".into(),
            group: self.group.clone(),
            version: self.version.clone(),
            kind: self.kind.clone(),
            verbs: UPDATE_VERBS,
        };
        self.subresources.push(status);
        self.schema = self.schema.with_status_subresource();
        self
    }

    /// Has `scale`, at the usual paths.
    #[must_use]
    pub fn scale(mut self) -> Self {
        self.scale = Some(ScalePaths::usual());
        let scale = Subresource::fixed("scale", ("autoscaling", "v1"), "Scale", UPDATE_VERBS);
        self.subresources.push(scale);
        self
    }

    /// Has another subresource.
    #[must_use]
    pub fn subresource(mut self, subresource: Subresource) -> Self {
        self.subresources.push(subresource);
        self
    }

    /// Counts changes of the wish in `metadata.generation`.
    #[must_use]
    pub fn generation(mut self) -> Self {
        self.counts_generation = true;
        self
    }

    /// Lets field selectors use these dotted paths.
    #[must_use]
    pub fn fields(mut self, paths: &[&'static str]) -> Self {
        self.selectable_fields
            .extend(paths.iter().map(|path| Cow::Borrowed(*path)));
        self
    }

    /// Has objects of this schema.
    #[must_use]
    pub fn schema(mut self, schema: Schema) -> Self {
        self.schema = if self.has_status() {
            schema.with_status_subresource()
        } else {
            schema
        };
        self
    }

    /// Shows these columns.
    #[must_use]
    pub fn columns(mut self, columns: Columns) -> Self {
        self.columns = columns;
        self
    }

    /// Sets the hooks.
    #[must_use]
    pub fn hooks(mut self, hooks: Hooks) -> Self {
        self.hooks = hooks;
        self
    }

    /// Is kept in the table of another version, in that version's form.
    #[must_use]
    pub fn stored_as(
        mut self,
        table: &str,
        api_version: &'static str,
        from_storage: Convert,
        to_storage: Convert,
    ) -> Self {
        self.table = table.into();
        self.storage_version = api_version.into();
        self.from_storage = from_storage;
        self.to_storage = to_storage;
        self
    }

    /// `apps/v1`, or `v1` for the core group.
    pub fn api_version(&self) -> String {
        self.resource().api_version()
    }

    /// Group, version and resource.
    pub fn resource(&self) -> GroupVersionResource {
        GroupVersionResource {
            group: self.group.clone().into_owned(),
            version: self.version.clone().into_owned(),
            resource: self.plural.clone().into_owned(),
        }
    }

    /// Group, version and kind.
    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind {
            group: self.group.clone().into_owned(),
            version: self.version.clone().into_owned(),
            kind: self.kind.clone().into_owned(),
        }
    }

    /// The subresource of a name.
    pub fn subresource_named(&self, name: &str) -> Option<&Subresource> {
        self.subresources
            .iter()
            .find(|subresource| subresource.name == name)
    }

    /// Whether `status` changes only through its subresource.
    pub fn has_status(&self) -> bool {
        self.subresource_named("status").is_some()
    }

    /// Whether objects are kept; others are answered at once, as access reviews are.
    pub fn is_stored(&self) -> bool {
        !self.table.is_empty()
    }

    /// Turns an object of this version into the form in which it is stored.
    pub fn to_stored(&self, object: &mut Object) {
        if self.storage_version != self.api_version() {
            (self.to_storage)(object);
            object.set(&["apiVersion"], self.storage_version.as_ref());
        }
    }

    /// Turns a stored object into this version.
    ///
    /// An object that is stored in this version is left as it is; callers that share objects can ask
    /// [`KindRow::is_storage_version`] first and spare the copy.
    pub fn from_stored(&self, object: &mut Object) {
        if !self.is_storage_version() {
            (self.from_storage)(object);
            object.set(&["apiVersion"], self.api_version());
        }
    }

    /// Whether objects are stored in this very version.
    pub fn is_storage_version(&self) -> bool {
        self.storage_version == self.api_version()
    }
}
