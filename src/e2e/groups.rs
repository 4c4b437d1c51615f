//! Real clients in consumer groups. Across every change each record is processed at least once and none is skipped.

mod comings;
mod crowds;
mod migration;
mod own;
mod patterns;
mod restarts;
mod scene;
