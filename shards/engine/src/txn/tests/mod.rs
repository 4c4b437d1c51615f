//! Coordinators without a host.
