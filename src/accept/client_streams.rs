//! The streams that clients come on, as an exchange and a tunnel see them.

use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::exchange::ClientStream;
use crate::tunnel::Stream;

impl ClientStream for TcpStream {
    fn reset_on_close(&self) {
        // A failure leaves an ordinary close, which is what there was before.
        drop(SockRef::from(self).set_linger(Some(Duration::ZERO)));
    }
}

impl Stream for TlsStream<TcpStream> {
    const DROP_IS_FIN: bool = false;

    fn give_up_after(&self, time: Duration) {
        self.get_ref().0.give_up_after(time);
    }

    fn reset(&mut self) {
        self.get_mut().0.reset();
    }
}

impl ClientStream for TlsStream<TcpStream> {
    fn reset_on_close(&self) {
        self.get_ref().0.reset_on_close();
    }
}
