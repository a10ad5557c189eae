//! The front of the crate: readiness.

use super::EventLoop;
use crate::backend::AsDescriptor;
use crate::op::{self, Event, Interest, Readiness};
use crate::{Error, OpId};

/// Readiness of what nbio has no operations for.
impl<S> EventLoop<S> {
    /// Waits until something that has a descriptor is ready: [`op::Poll`].
    pub fn poll(
        &self,
        descriptor: impl AsDescriptor,
        interest: Interest,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Result<Readiness, Error>) + 'static,
    ) -> OpId {
        self.submit(op::Poll::new(descriptor, interest), callback)
    }

    /// Calls back whenever it has become ready, edge-triggered: [`op::PollMany`].
    pub fn poll_many(
        &self,
        descriptor: impl AsDescriptor,
        interest: Interest,
        callback: impl FnMut(&mut S, &EventLoop<S>, Event<Readiness>) + 'static,
    ) -> OpId {
        self.submit_many(op::PollMany::new(descriptor, interest), callback)
    }
}
