//! Objects that come in.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use flamekeeper_object::{BundleLayout, Member, MemberKind, ObjectFacts, ObjectFile, SymbolsPresent, write_bundle};
use flamekeeper_profile::BuildId;

use super::error::{AddError, Added, Addition};
use super::files::Temporary;
use super::index::{Known, on_disk};
use super::marker::Marker;
use super::{Conversion, SymbolStore};
use crate::convert::{ConvertError, Converter};
use crate::symbol_file::SymbolFile;

/// How long nobody is asked for an object whose conversion failed for a reason that may pass.
const POSTPONED: Duration = Duration::from_secs(3600);
/// Most objects that are remembered as postponed.
const MAX_POSTPONED: usize = 10_000;
/// Most objects that are remembered as bad.
const MAX_BAD: usize = 100_000;

/// An object's bytes.
#[derive(Clone, Copy, Debug)]
enum Object<'a> {
    Memory(&'a [u8]),
    File(&'a File),
}

/// What an object says of itself.
struct Facts {
    build_id: Option<BuildId>,
    symbols: SymbolsPresent,
}

/// A symbol file that a converter wrote.
struct Converted {
    file: Temporary,
    /// What its names come from.
    source: SymbolsPresent,
    /// What it takes on disk.
    bytes: u64,
}

impl SymbolStore {
    /// Converts an object's symbols and stores them. It is an ELF file, or a bundle of one and its companions
    /// ([`flamekeeper_object::BundleLayout`]). Takes as long as the conversion, some seconds for the largest objects,
    /// and waits for others that came before.
    ///
    /// # Errors
    /// [`AddError`]; of an object that cannot be converted the store remembers that it cannot.
    pub fn add(&self, id: &BuildId, elf: &[u8]) -> Result<Added, AddError> {
        Ok(self.add_object(id, Object::Memory(elf))?.added)
    }

    /// As [`Self::add`] for an object in a file, which is not read into memory. Nobody may change it meanwhile. Where no
    /// build id is given, it is the one that the file states, or its hash where it states none.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn add_file(&self, id: Option<&BuildId>, elf: &File) -> Result<Addition, AddError> {
        match id {
            Some(id) => self.add_object(id, Object::File(elf)),
            None => {
                let object = BundleLayout::of_file(elf)?.object();
                self.add_object(ObjectFile::from_member(elf, object)?.identity(), Object::File(elf))
            }
        }
    }

    /// As [`Self::add_file`] for an object together with the supplementary file that its debug information refers to
    /// ([`Self::supplementary`]), where they are not too large together.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn add_with_supplementary(&self, id: &BuildId, elf: &File, supplementary: &File) -> Result<Addition, AddError> {
        let bytes = elf.metadata()?.len().saturating_add(supplementary.metadata()?.len());
        if bytes > self.limits.object_bytes {
            tracing::info!(build_id = %id, bytes, limit = self.limits.object_bytes, "an object and its supplementary file are too large together: it is added alone");
            return self.add_file(Some(id), elf);
        }
        let mut bundle = self.scratch_file()?;
        write_bundle(&[(MemberKind::Object, elf), (MemberKind::Supplementary, supplementary)], &mut bundle)?;
        self.add_object(id, Object::File(&bundle))
    }

    /// The build id of the supplementary file that the debug information of an object refers to; none where it refers to none.
    #[must_use]
    pub fn supplementary(elf: &File) -> Option<BuildId> {
        Some(ObjectFile::from_file(elf).ok()?.alt_link()?.build_id)
    }

    /// A file without a name in the store's directory, for an object that comes in.
    ///
    /// # Errors
    /// Those of making it.
    pub fn scratch_file(&self) -> std::io::Result<File> {
        // Its name goes with the guard.
        self.files.temporary()?.file.try_clone()
    }

    fn add_object(&self, id: &BuildId, object: Object<'_>) -> Result<Addition, AddError> {
        let result = self.try_add(id, object);
        match &result {
            Ok(_) => _ = self.postponed.lock().unwrap_or_else(PoisonError::into_inner).remove(id),
            Err(error) => {
                self.counters.failed(error.reason());
                tracing::info!(build_id = %id, reason = error.reason().as_str(), %error, "symbols were not stored");
                if !error.is_final() {
                    self.postpone(id);
                }
            }
        }
        result
    }

    fn try_add(&self, id: &BuildId, object: Object<'_>) -> Result<Addition, AddError> {
        let facts = object.facts()?;
        check_identity(id, &facts)?;
        if let Some(there) = self.better(id, facts.symbols) {
            return Ok(there);
        }
        let turn = self.converting.lock().unwrap_or_else(PoisonError::into_inner);
        // Who was before may have added the same.
        if let Some(there) = self.better(id, facts.symbols) {
            return Ok(there);
        }
        let converted = self.convert_what_can_be(id, object, facts.symbols);
        drop(turn);
        self.counters.converted();
        match converted {
            Ok(converted) => self.place(id, converted),
            Err(AddError::Convert(error)) => {
                // An object without symbols says nothing about another host's, which may have a debug file.
                if error.is_final() && !matches!(error, ConvertError::NoSymbols) {
                    self.remember_bad(id, &error)?;
                }
                Err(error.into())
            }
            Err(error) => Err(error),
        }
    }

    /// As [`Self::convert`]; without the companions where it fails with them, for want of memory perhaps: a part of the names is more than none.
    fn convert_what_can_be(&self, id: &BuildId, object: Object<'_>, symbols: SymbolsPresent) -> Result<Converted, AddError> {
        let converted = self.convert(object, symbols);
        match &converted {
            Err(AddError::Convert(error)) if error.is_final() && self.better(id, SymbolsPresent::PartialDebugInfo).is_none() => {
                let Some(member) = object.within_a_bundle()? else { return converted };
                tracing::info!(build_id = %id, %error, "symbols are converted without the companions of the object");
                match object {
                    Object::Memory(bytes) => self.convert(Object::Memory(member.of(bytes)), symbols),
                    Object::File(file) => self.convert(Object::File(&self.files.part(file, member)?.file), symbols),
                }
            }
            _ => converted,
        }
    }

    /// A whole symbol file that is in no place yet.
    fn convert(&self, object: Object<'_>, symbols: SymbolsPresent) -> Result<Converted, AddError> {
        let converter = Converter { object_bytes: self.limits.object_bytes, section_bytes: self.limits.section_bytes };
        let size = object.len()?;
        if size > converter.object_bytes {
            return Err(ConvertError::TooLarge { size, limit: converter.object_bytes }.into());
        }
        if symbols == SymbolsPresent::None {
            return Err(ConvertError::NoSymbols.into());
        }
        let file = match &self.conversion {
            Conversion::InProcess => self.files.written(converter.convert(&object.read()?)?.as_bytes())?,
            Conversion::Child(child) => {
                let output = self.files.temporary()?;
                match object {
                    Object::File(file) => child.convert(&converter, file, &output.file)?,
                    Object::Memory(bytes) => child.convert(&converter, &self.files.written(bytes)?.file, &output.file)?,
                }
                output
            }
        };
        Converted::check(file)
    }

    /// What there is, where it is as good as this source.
    fn better(&self, id: &BuildId, than: SymbolsPresent) -> Option<Addition> {
        match self.index.get(id) {
            Some(Known::Stored { source, bytes }) if source >= than => {
                Some(Addition { id: id.clone(), added: Added::AlreadyThere, source, replaced: None, bytes })
            }
            _ => None,
        }
    }

    fn place(&self, id: &BuildId, Converted { file, source, bytes }: Converted) -> Result<Addition, AddError> {
        let limit = self.limits.store_bytes;
        if bytes > limit {
            return Err(AddError::Full { bytes, limit });
        }
        let guard = self.placing();
        if let Some(there) = self.better(id, source) {
            return Ok(there);
        }
        let replaced = match self.index.get(id) {
            Some(Known::Stored { source, bytes }) => Some((source, bytes)),
            _ => None,
        };
        let more = bytes.saturating_sub(replaced.map_or(0, |(_, bytes)| bytes));
        self.make_room(more, id)?;
        let now = self.clock.now();
        file.put(&self.files.path(id, "sym"), now)?;
        if let Some(old) = self.index.insert(id, Known::Stored { source, bytes }, now) {
            self.open.forget(old);
        }
        self.files.remove(id, "bad")?;
        drop(guard);
        tracing::debug!(build_id = %id, source = ?source, bytes, "symbols were stored");
        Ok(Addition { id: id.clone(), added: Added::Stored, source, replaced: replaced.map(|(source, _)| source), bytes })
    }

    /// Remembers on disk that an object cannot be converted.
    fn remember_bad(&self, id: &BuildId, error: &ConvertError) -> Result<(), std::io::Error> {
        let _guard = self.placing();
        if self.index.get(id).is_some() || self.index.totals().bad >= MAX_BAD {
            return Ok(());
        }
        let now = self.clock.now();
        self.files.written(Marker::of(error).text().as_bytes())?.put(&self.files.path(id, "bad"), now)?;
        self.index.insert(id, Known::Bad, now);
        Ok(())
    }

    fn postpone(&self, id: &BuildId) {
        let mut postponed = self.postponed.lock().unwrap_or_else(PoisonError::into_inner);
        if postponed.len() >= MAX_POSTPONED {
            postponed.retain(|_, since| since.elapsed() < POSTPONED);
        }
        if postponed.len() < MAX_POSTPONED {
            postponed.insert(id.clone(), Instant::now());
        }
    }

    pub(super) fn is_postponed(&self, id: &BuildId) -> bool {
        let postponed = self.postponed.lock().unwrap_or_else(PoisonError::into_inner);
        postponed.get(id).is_some_and(|since| since.elapsed() < POSTPONED)
    }
}

impl Object<'_> {
    /// Those of the object itself, whatever comes with it.
    fn facts(self) -> Result<Facts, AddError> {
        match self {
            Self::Memory(bytes) => {
                let facts = ObjectFacts::of(BundleLayout::of_bytes(bytes)?.object().of(bytes))?;
                Ok(Facts { build_id: facts.build_id, symbols: facts.symbols })
            }
            Self::File(file) => {
                let object = ObjectFile::from_member(file, BundleLayout::of_file(file)?.object())?;
                Ok(Facts { build_id: object.build_id().cloned(), symbols: object.has_symbols() })
            }
        }
    }

    /// The object where it comes with companions.
    fn within_a_bundle(self) -> Result<Option<Member>, AddError> {
        let layout = match self {
            Self::Memory(bytes) => BundleLayout::of_bytes(bytes)?,
            Self::File(file) => BundleLayout::of_file(file)?,
        };
        Ok(layout.has_companions().then(|| layout.object()))
    }

    fn len(self) -> std::io::Result<u64> {
        match self {
            Self::Memory(bytes) => Ok(bytes.len() as u64),
            Self::File(file) => Ok(file.metadata()?.len()),
        }
    }

    fn read(&self) -> std::io::Result<std::borrow::Cow<'_, [u8]>> {
        match self {
            Self::Memory(bytes) => Ok((*bytes).into()),
            Self::File(file) => {
                let mut bytes = vec![0; usize::try_from(self.len()?).map_err(std::io::Error::other)?];
                file.read_exact_at(&mut bytes, 0)?;
                Ok(bytes.into())
            }
        }
    }
}

impl Converted {
    /// Checks what a converter wrote.
    fn check(file: Temporary) -> Result<Self, AddError> {
        let wrong = |error| ConvertError::Unreadable(format!("the converter's file: {error}"));
        let symbols = SymbolFile::map(&file.file)?.map_err(wrong)?;
        if !symbols.names_any() {
            return Err(ConvertError::NoSymbols.into());
        }
        let (source, bytes) = (symbols.source(), on_disk(symbols.as_bytes().len() as u64));
        Ok(Self { file, source, bytes })
    }
}

/// An object must state the build id that it was sent as. One known by its hash has none to state: what was sent is a part
/// of the hashed file, so nothing can be checked.
fn check_identity(id: &BuildId, facts: &Facts) -> Result<(), AddError> {
    match &facts.build_id {
        Some(found) if found != id => Err(AddError::OtherBuildId { expected: id.clone(), found: found.clone() }),
        _ => Ok(()),
    }
}
