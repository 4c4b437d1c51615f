//! How an actor stands that speaks to a coordinator with one request on the way at a time: whether the coordinator was asked for, when something may be
//! done next, how much is left to do. Members of groups and transactional producers share it.

use std::borrow::Cow;

use bytes::Bytes;
use floe_wire::errors::ErrorCode;
use floe_wire::messages::Message;
use floe_wire::messages::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse, GROUP};

use super::api::ApiKey;
use super::{Cx, decode, encode, error_code};

/// Refusals by the storage, each with an excuse, after which an actor gives up: its coordinator's partition may be damaged for good.
const REFUSALS_MAX: u32 = 100;

/// What follows from an error code for the one who gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// No error.
    Fine,
    /// The coordinator is not there now: again later.
    Later,
    /// Up to the operation.
    Other(ErrorCode),
}

/// How an actor stands.
#[derive(Debug, Default)]
pub struct Footing {
    /// The coordinator was asked for.
    pub found: bool,
    /// Nothing is done before this moment.
    pub not_before_ns: u64,
    /// A request is on the way.
    pub in_flight: bool,
    /// Steps to go.
    pub left: u32,
    /// It does nothing any more.
    pub over: bool,
    /// Of one that must succeed: it has.
    pub succeeded: bool,
    refusals: u32,
}

impl Footing {
    /// With so many steps to go.
    pub fn new(steps: u32) -> Footing {
        Footing { left: steps, ..Footing::default() }
    }

    /// What each call begins with. `Ok`: it may act; whether everything is done that it has to do. `Err`: it does nothing, and is to be called again then.
    pub fn begin(&mut self, cx: &mut Cx<'_>, must_succeed: bool) -> Result<bool, Option<u64>> {
        if self.over {
            return Err(None);
        }
        if self.gives_up() {
            self.over = true;
            return Err(None);
        }
        if cx.winding_down && !must_succeed {
            self.left = 0;
        }
        self.ready(cx)?;
        Ok(if must_succeed { self.succeeded } else { self.left == 0 })
    }

    /// Everything is done: whether it ends here. Half of those that `is_in` something vanish, the others leave it properly first.
    pub fn ends(&mut self, cx: &mut Cx<'_>, is_in: bool) -> bool {
        self.over = !is_in || cx.rng.percent(50);
        self.over
    }

    /// One of the steps is done, then comes a pause.
    pub fn step(&mut self, cx: &mut Cx<'_>, pause_ns: u64) {
        self.left = self.left.saturating_sub(1);
        self.not_before_ns = cx.world.now_ns() + cx.rng.below(pause_ns + 1);
    }

    /// Asks for the coordinator of this group or transactional id, which has the coordinators' topic made when there is none.
    pub fn find(&mut self, cx: &mut Cx<'_>, key_type: i8, name: &str) {
        // Version 0 knows groups only.
        let version = cx.rng.range(u64::from(key_type != GROUP), 6) as i16;
        let mut request = FindCoordinatorRequest { key_type, ..Default::default() };
        if version < 4 {
            request.key = Cow::Borrowed(name);
        } else {
            request.coordinator_keys = vec![Cow::Borrowed(name)];
        }
        self.in_flight = cx.send(ApiKey::FindCoordinator, version, 0, encode(&request, version));
    }

    /// Takes the answer.
    pub fn found(&mut self, cx: &mut Cx<'_>, version: i16, body: &[u8]) {
        let decoded = decode::<FindCoordinatorResponse>(cx, "FindCoordinator", body, version);
        let Some(response) = decoded else { return };
        let code = response.coordinators.first().map_or(response.error_code, |found| found.error_code);
        match self.told(cx, code, "FindCoordinator") {
            Told::Fine => self.found = true,
            Told::Later => {}
            Told::Other(error) => cx.oracle.fail(format!("FindCoordinator: {}", error.name())),
        }
    }

    /// What an error code of a coordinator means.
    pub fn told(&mut self, cx: &mut Cx<'_>, code: i16, what: &str) -> Told {
        let error = error_code(code);
        match error {
            ErrorCode::NONE => {
                self.refusals = 0;
                Told::Fine
            }
            ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
            | ErrorCode::COORDINATOR_NOT_AVAILABLE
            | ErrorCode::NOT_COORDINATOR => {
                self.later(cx);
                Told::Later
            }
            ErrorCode::UNKNOWN_SERVER_ERROR | ErrorCode::INVALID_REQUEST | ErrorCode::UNSUPPORTED_VERSION => {
                cx.oracle.fail(format!("{what}: {}", error.name()));
                Told::Other(error)
            }
            error => Told::Other(error),
        }
    }

    /// It was refused, for now.
    pub fn later(&mut self, cx: &mut Cx<'_>) {
        self.refusals += u32::from(cx.refusals_excused);
        self.not_before_ns = cx.world.now_ns() + cx.rng.range(5_000_000, 50_000_000);
    }

    /// It was refused too often, with an excuse.
    pub fn gives_up(&self) -> bool {
        self.refusals >= REFUSALS_MAX
    }

    /// Whether something may be done now; else when.
    pub fn ready(&self, cx: &Cx<'_>) -> Result<(), Option<u64>> {
        let now_ns = cx.world.now_ns();
        if self.in_flight {
            return Err(None);
        }
        if now_ns < self.not_before_ns {
            return Err(Some(self.not_before_ns - now_ns));
        }
        Ok(())
    }
}

/// Encodes a request and sends it. Nothing is in flight afterwards: there is no connection.
pub fn send<'a>(cx: &mut Cx<'_>, footing: &mut Footing, api: ApiKey, version: i16, message: &impl Message<'a>) {
    let body: Bytes = encode(message, version);
    footing.in_flight = cx.send(api, version, 0, body);
}
