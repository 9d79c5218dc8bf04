//! What a component is linked against, each under exactly the name that it imports.
//!
//! wasmtime takes `log@1.0.0` for `log@1.1.0` and the other way round, but an exact name wins over a compatible one:
//! whatever is made of "all that is unknown" under exact names hides what is offered. So there is nothing but exact names.
//! Of `kubeopencode:*` nothing is made up: a plugin that imports what this version does not have is refused when it is
//! loaded, not when it calls.
//!
//! May touch: names and types of imports and exports. Must not touch: what is behind them.

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, LinkerInstance, ResourceType};
use wasmtime::{Engine, StoreContextMut};

use super::Call;
use super::wasi::{self, Handle};
use crate::bindings::log::Level;
use crate::error::{LoadError, quote};
use crate::inspect::{Import, Inspection, Offer};
use crate::limits::IMPORTS;

/// The namespace that is ours.
const NAMESPACE: &str = "kubeopencode:";
/// The package of `wit/plugin.wit`.
const PACKAGE: &str = "kubeopencode:plugin";
/// Its version: whatever has the same first number fits.
const VERSION: &str = "1.0.0";
/// How the versions of WASI begin that are offered.
const WASI: &str = "0.2.";

/// What a component is linked against.
///
/// # Errors
/// An import of ours that this version does not have, or of a WASI that plugins do not have.
pub(crate) fn linker(engine: &Engine, component: &Component) -> Result<Linker<Call>, LoadError> {
    let (mut linker, ty, mut room) = (Linker::new(engine), component.component_type(), IMPORTS);
    if !ty.imports(engine).all(|(_, import)| has_room(&mut room, engine, &import.ty)) {
        return Err(LoadError::Imports(format!("there are more than {IMPORTS} with what is in them")));
    }
    for (name, import) in ty.imports(engine) {
        if name.starts_with(NAMESPACE) {
            own(&mut linker, engine, name, &import.ty)?;
        } else if name.starts_with("wasi:") {
            check_wasi(name)?;
            let define = |mut root: LinkerInstance<'_, Call>| item(&mut root, engine, None, name, &import.ty);
            define(linker.root())
                .map_err(|error| LoadError::Imports(quote(&format!("{name}: {error:#}"))))?;
        }
    }
    // nobody knows the rest
    linker
        .define_unknown_imports_as_traps(component)
        .map_err(|error| LoadError::Imports(quote(&format!("{error:#}"))))?;
    Ok(linker)
}

/// Whether there is room for something that is imported, and for all that is in it. A few kilobytes of types in types can name
/// a million of functions.
fn has_room(room: &mut usize, engine: &Engine, ty: &ComponentItem) -> bool {
    let Some(left) = room.checked_sub(1) else { return false };
    *room = left;
    match ty {
        ComponentItem::ComponentInstance(instance) => {
            instance.exports(engine).all(|(_, export)| has_room(room, engine, &export.ty))
        }
        _ => true,
    }
}

/// Whether an import is of no other WASI than the one that plugins have.
///
/// # Errors
/// It is.
pub(crate) fn check_wasi(import: &str) -> Result<(), LoadError> {
    let name = Name::parse(import);
    let is_other = name.package.starts_with("wasi:") && !name.version.starts_with(WASI);
    if is_other { Err(LoadError::OtherWasi(quote(import))) } else { Ok(()) }
}

/// Why nobody has this import, if it is of a network.
pub(crate) fn of_network(import: &str) -> Option<&'static str> {
    Some(wasi::absent(Name::parse(import).package)).filter(|why| *why == wasi::NO_NETWORK)
}

/// The package of this interface of ours that the component exports, in a version that fits, as in `kubeopencode:plugin@1.0.0`;
/// `None`: it does not export the interface.
///
/// # Errors
/// It has the interface in other versions alone.
pub(crate) fn exported(
    engine: &Engine,
    component: &Component,
    interface: &str,
) -> Result<Option<String>, LoadError> {
    let ty = component.component_type();
    let exported = ty.exports(engine).map(|(name, _)| Name::parse(name));
    let ours: Vec<_> =
        exported.filter(|name| name.package == PACKAGE && name.interface == interface).collect();
    match (ours.iter().find(|name| name.fits()), ours.first()) {
        (Some(name), _) => Ok(Some(quote(&format!("{}@{}", name.package, name.version)))),
        (None, Some(other)) => Err(other.other_version()),
        (None, None) => Ok(None),
    }
}

/// What a component imports, and what it would get for each: by the linker's own rules.
pub(crate) fn inspect(engine: &Engine, component: &Component) -> Inspection {
    let ty = component.component_type();
    let imports = ty.imports(engine).map(|(name, import)| Import {
        name: quote(name),
        offer: offer(engine, name, &import.ty)
            .unwrap_or_else(|error| Offer::Refused(quote(&format!("{name}: {error:#}")))),
    });
    let exported = ty.exports(engine).map(|(name, _)| Name::parse(name));
    let ours = exported.filter(|name| name.package == PACKAGE);
    Inspection {
        imports: imports.collect(),
        exports: ours
            .map(|name| (quote(&format!("{}@{}", name.package, name.version)), quote(name.interface)))
            .collect(),
    }
}

fn offer(engine: &Engine, import: &str, ty: &ComponentItem) -> wasmtime::Result<Offer> {
    let mut linker = Linker::new(engine);
    if import.starts_with(NAMESPACE) {
        let offered = own(&mut linker, engine, import, ty);
        return Ok(offered.map_or_else(|error| Offer::Refused(error.to_string()), |()| Offer::Ours));
    }
    let name = Name::parse(import);
    if !name.package.starts_with("wasi:") {
        let words =
            format!("{import}: nobody has it; a plugin imports {PACKAGE} and WASI 0.2, leave out the rest");
        return Ok(Offer::Refused(quote(&words)));
    }
    let ComponentItem::ComponentInstance(instance) = ty else { return Ok(Offer::Empty) };
    if let Err(other) = check_wasi(import) {
        return Ok(Offer::Refused(other.to_string()));
    }
    let mut scratch = linker.instance(import)?;
    let path = import.split_once('@').map_or(import, |(path, _)| path);
    for (function, export) in instance.exports(engine) {
        if matches!(export.ty, ComponentItem::ComponentFunc(_))
            && !wasi::define(&mut scratch, path, function)?
        {
            return Ok(Offer::Absent(wasi::absent(name.package)));
        }
    }
    Ok(Offer::Empty)
}

/// `wasi:cli/stdout@0.2.6`, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Name<'a> {
    package: &'a str,
    interface: &'a str,
    version: &'a str,
}

impl<'a> Name<'a> {
    fn parse(name: &'a str) -> Self {
        let (path, version) = name.split_once('@').unwrap_or((name, ""));
        let (package, interface) = path.split_once('/').unwrap_or((path, ""));
        Self { package, interface, version }
    }

    fn fits(&self) -> bool {
        let major = |version: &'a str| version.split_once('.').map(|(major, _)| major);
        // one that is still made fits nothing but itself, as everywhere
        major(self.version) == major(VERSION) && !self.version.contains('-')
    }

    fn other_version(&self) -> LoadError {
        LoadError::OtherInterface {
            found: quote(&format!("{}@{}", self.package, self.version)),
            have: format!("{PACKAGE}@{VERSION}"),
        }
    }
}

/// Offers an import of ours, or refuses the component.
fn own(
    linker: &mut Linker<Call>,
    engine: &Engine,
    import: &str,
    ty: &ComponentItem,
) -> Result<(), LoadError> {
    let name = Name::parse(import);
    if name.package == PACKAGE && !name.fits() {
        return Err(name.other_version());
    }
    let newer = |what: String| LoadError::NewerInterface(quote(&what));
    let ComponentItem::ComponentInstance(instance) = ty else { return Err(newer(import.to_owned())) };
    let functions = || {
        instance
            .exports(engine)
            .filter(|(_, export)| !matches!(export.ty, ComponentItem::Type(_)))
            .map(|(function, _)| function)
    };
    match (name.package, name.interface) {
        (PACKAGE, "log") => {
            if let Some(unknown) = functions().find(|function| *function != "log") {
                return Err(newer(format!("{import}#{unknown}")));
            }
            let offered = linker.instance(import).and_then(|mut instance| instance.func_wrap("log", log));
            offered.map_err(|error| LoadError::Imports(quote(&format!("{import}: {error:#}"))))
        }
        // an interface of types alone: nothing has to be there
        (PACKAGE, "types") if functions().next().is_none() => Ok(()),
        _ => Err(newer(import.to_owned())),
    }
}

fn log(mut store: StoreContextMut<'_, Call>, (level, message): (Level, String)) -> wasmtime::Result<()> {
    store.data_mut().lines.push(level, message);
    store.data_mut().listen()
}

/// Offers what WASI has, with nothing behind it; what is not there ends the call.
fn item(
    linker: &mut LinkerInstance<'_, Call>,
    engine: &Engine,
    parent: Option<&str>,
    name: &str,
    ty: &ComponentItem,
) -> wasmtime::Result<()> {
    match ty {
        ComponentItem::ComponentInstance(instance) => {
            let mut inner = linker.instance(name)?;
            for (export_name, export) in instance.exports(engine) {
                item(&mut inner, engine, Some(name), export_name, &export.ty)?;
            }
            Ok(())
        }
        ComponentItem::Resource(_) => linker.resource(name, ResourceType::host::<Handle>(), |_, _| Ok(())),
        ComponentItem::ComponentFunc(_) => {
            let parent = parent.unwrap_or_default();
            let interface = Name::parse(parent);
            if interface.version.starts_with(WASI) {
                let path = parent.split_once('@').map_or(parent, |(path, _)| path);
                if wasi::define(linker, path, name)? {
                    return Ok(());
                }
            }
            let words = format!("{}: it called {parent}#{name}", wasi::absent(interface.package));
            linker.func_new(name, move |_, _, _, _| Err(wasmtime::Error::msg(words.clone())))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_fits_by_its_first_number() {
        for (name, fits) in [
            ("kubeopencode:plugin/log@1.0.0", true),
            ("kubeopencode:plugin/log@1.12.3", true),
            ("kubeopencode:plugin/log@1.1.0-rc.1", false),
            ("kubeopencode:plugin/log@2.0.0", false),
            ("kubeopencode:plugin/log@10.0.0", false),
            ("kubeopencode:plugin/log@0.1.0", false),
            ("kubeopencode:plugin/log", false),
        ] {
            assert_eq!(Name::parse(name).fits(), fits, "{name}");
        }
    }
}
