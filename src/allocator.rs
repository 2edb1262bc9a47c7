//! The program's allocator: mimalloc, asked in the way in which it is fast. Its Rust wrapper passes
//! every request through the entry for special alignments, which for most sizes is a detour.

#![allow(unsafe_code, reason = "an allocator cannot be had otherwise")]

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys::{
    mi_free, mi_malloc, mi_malloc_aligned, mi_realloc, mi_realloc_aligned, mi_zalloc,
    mi_zalloc_aligned,
};

/// mimalloc.
#[derive(Debug)]
pub(crate) struct Mimalloc;

/// Whether mimalloc aligns such a block of itself: to a word, and from 16 bytes on to 16.
fn is_ordinary(layout: Layout) -> bool {
    layout.align() <= 8 || (layout.align() <= 16 && layout.size() >= 16)
}

// SAFETY: each function hands on to mimalloc's counterpart, whose blocks are as large as asked for,
// aligned as asked for (`is_ordinary` says where the plain entries suffice), and null when there is
// no memory. mimalloc frees and resizes a block whichever entry it came from.
unsafe impl GlobalAlloc for Mimalloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: mimalloc takes any size, and any power of two as alignment.
        let block = unsafe {
            if is_ordinary(layout) {
                mi_malloc(layout.size())
            } else {
                mi_malloc_aligned(layout.size(), layout.align())
            }
        };
        block.cast()
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        let block = unsafe {
            if is_ordinary(layout) {
                mi_zalloc(layout.size())
            } else {
                mi_zalloc_aligned(layout.size(), layout.align())
            }
        };
        block.cast()
    }

    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller got `block` from here and gives it up.
        unsafe { mi_free(block.cast()) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let block = block.cast();
        // SAFETY: the caller got `block` from here with this alignment, and gives it up for the new
        // one.
        let block = unsafe {
            if layout.align() <= 8 {
                mi_realloc(block, size)
            } else {
                mi_realloc_aligned(block, size, layout.align())
            }
        };
        block.cast()
    }
}
