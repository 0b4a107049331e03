//! A sparse array that clones in almost no time: pages are shared until one side writes.

use std::sync::Arc;

/// Elements of a page: small enough that the first write after a clone copies little.
const PAGE: usize = 64;

/// An array in which every element that was never written reads as the default. Memory grows with the pages that hold
/// a written element, plus 8 bytes for each page below the highest.
#[derive(Clone, Debug)]
pub(super) struct Paged<T> {
    pages: Vec<Option<Arc<[T; PAGE]>>>,
    default: T,
}

impl<T: Copy> Paged<T> {
    pub(super) const fn new(default: T) -> Self {
        Self { pages: Vec::new(), default }
    }

    pub(super) fn get(&self, index: u32) -> &T {
        let index = index as usize;
        match self.pages.get(index / PAGE) {
            Some(Some(page)) => &page[index % PAGE],
            _ => &self.default,
        }
    }

    pub(super) fn get_mut(&mut self, index: u32) -> &mut T {
        let index = index as usize;
        if self.pages.len() <= index / PAGE {
            self.pages.resize(index / PAGE + 1, None);
        }
        let page = self.pages[index / PAGE].get_or_insert_with(|| Arc::new([self.default; PAGE]));
        &mut Arc::make_mut(page)[index % PAGE]
    }
}
