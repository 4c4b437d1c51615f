//! Real clients against a real process.
