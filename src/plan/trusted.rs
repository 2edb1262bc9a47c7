//! The networks whose forwarding headers are believed.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::{At, Config, Mistakes};

/// Proxies in front of Bowline. Everybody else's `Forwarded` and `X-Forwarded-*` are dropped.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
}

impl TrustedProxies {
    pub(super) fn build(config: &Config, mistakes: &mut Mistakes) -> Self {
        let at = At::root().key("trusted_proxies");
        let mut networks = Vec::new();
        for (index, written) in config.trusted_proxies.iter().enumerate() {
            let network = written.parse::<IpNet>();
            match network.or_else(|_| written.parse::<IpAddr>().map(IpNet::from)) {
                Ok(network) => networks.push(network),
                Err(_) => mistakes.add(
                    &at.index(index),
                    format!("`{written}` is not a network: write 10.0.0.0/8 or one address"),
                ),
            }
        }
        Self { networks }
    }

    /// Whether `address` is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }
}
