//! A sparse array that clones in almost no time: pages are shared until one side writes.

use std::sync::Arc;

/// Elements of a page: small enough that the first write after a clone copies little.
const PAGE: usize = 64;
/// Pages of a folder: a clone of a full tree's lowest level copies 512 folders and no page.
const FOLDER: usize = 512;

type Page<T> = Arc<[T; PAGE]>;
type Folder<T> = Arc<[Option<Page<T>>; FOLDER]>;

/// An array in which every element that was never written reads as the default. Memory grows with the pages that hold
/// a written element, 4 KiB for each folder of 32,768 elements that has one, and 8 bytes for each folder below it.
#[derive(Clone, Debug)]
pub(super) struct Paged<T> {
    folders: Vec<Option<Folder<T>>>,
    default: T,
}

impl<T: Copy> Paged<T> {
    pub(super) const fn new(default: T) -> Self {
        Self { folders: Vec::new(), default }
    }

    pub(super) fn get(&self, index: u32) -> &T {
        let index = index as usize;
        let folder = self.folders.get(index / PAGE / FOLDER).and_then(Option::as_ref);
        match folder.and_then(|folder| folder[index / PAGE % FOLDER].as_ref()) {
            Some(page) => &page[index % PAGE],
            None => &self.default,
        }
    }

    pub(super) fn get_mut(&mut self, index: u32) -> &mut T {
        let index = index as usize;
        let place = index / PAGE / FOLDER;
        if self.folders.len() <= place {
            self.folders.resize(place + 1, None);
        }
        let folder = self.folders[place].get_or_insert_with(|| Arc::new([const { None }; FOLDER]));
        let page = &mut Arc::make_mut(folder)[index / PAGE % FOLDER];
        let page = page.get_or_insert_with(|| Arc::new([self.default; PAGE]));
        &mut Arc::make_mut(page)[index % PAGE]
    }
}
