//! One task for a client's whole life: HTTP at first, and after a 101 its tunnel. What serves HTTP is
//! many times as large as a tunnel, so each is a block of its own and the first is gone when the
//! second begins.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A tunnel with all that it carries.
pub type Carriage = Pin<Box<dyn Future<Output = ()>>>;

/// The task of one client.
#[must_use = "a task does nothing unless it is spawned"]
pub struct ClientTask(Stage);

enum Stage {
    Http(Pin<Box<dyn Future<Output = Option<Carriage>>>>),
    Tunnel(Carriage),
}

impl ClientTask {
    /// `http` ends with the tunnel that it has led to, if it has.
    pub fn new(http: impl Future<Output = Option<Carriage>> + 'static) -> Self {
        Self(Stage::Http(Box::pin(http)))
    }
}

impl Future for ClientTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.0 {
                Stage::Http(http) => match ready!(http.as_mut().poll(cx)) {
                    Some(tunnel) => self.0 = Stage::Tunnel(tunnel),
                    None => return Poll::Ready(()),
                },
                Stage::Tunnel(tunnel) => return tunnel.as_mut().poll(cx),
            }
        }
    }
}
