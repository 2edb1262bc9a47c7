//! Networks, as lists of prefixes and addresses: whose forwarding headers are believed, and who may
//! come.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use crate::config::{At, Mistakes};

/// A set of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    networks: Vec<IpNet>,
}

impl Networks {
    /// Reads a list, `10.0.0.0/8` or `::1` each.
    pub(super) fn read(written: &[String], at: &At, mistakes: &mut Mistakes) -> Self {
        let mut networks = Vec::new();
        for (index, written) in written.iter().enumerate() {
            let network = written.parse::<IpNet>();
            match network.or_else(|_| written.parse::<IpAddr>().map(IpNet::from)) {
                Ok(network) => networks.push(canonical(network)),
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

/// An IPv4 network as what it is when it is written as IPv6 (`::ffff:10.0.0.0/104`).
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let (Some(v4), Some(prefix)) = (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96))
    else {
        return network;
    };
    Ipv4Net::new(v4, prefix).map_or(network, IpNet::V4)
}

/// Who may come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// These alone; `None` for all.
    pub allow: Option<Networks>,
    /// Not these, whatever is allowed.
    pub deny: Networks,
}

impl Access {
    /// Reads the keys `allow` and `deny` of the mapping at `at`; `None` when neither is written.
    pub(super) fn read(
        allow: Option<&Vec<String>>,
        deny: Option<&Vec<String>>,
        at: &At,
        mistakes: &mut Mistakes,
    ) -> Option<Self> {
        let mut networks = |key, written: Option<&Vec<String>>, meaning| {
            let (written, at) = (written?, at.key(key));
            if written.is_empty() {
                mistakes.add(
                    &at,
                    format!("an empty list would {meaning}: name networks, or remove it"),
                );
            }
            Some(Networks::read(written, &at, mistakes))
        };
        let allow = networks("allow", allow, "let nobody in");
        let deny = networks("deny", deny, "keep nobody out");
        (allow.is_some() || deny.is_some()).then(|| Self { allow, deny: deny.unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(yaml: &str) -> (Networks, String) {
        let (config, mut mistakes) = crate::config::parse("file", yaml, &|_| None);
        let at = At::root().key("trusted_proxies");
        let trusted = Networks::read(&config.trusted_proxies, &at, &mut mistakes);
        (trusted, mistakes.to_string())
    }

    #[test]
    fn networks_and_single_addresses_are_trusted_and_nobody_else() {
        let (trusted, mistakes) =
            trusted("trusted_proxies: [ 10.0.0.0/8, 192.0.2.7, '2001:db8::/32', '::1' ]\n");
        assert_eq!(mistakes, "");
        for (address, is_trusted) in [
            ("10.255.0.1", true),
            ("11.0.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8:1::1", true),
            ("2001:db9::1", false),
            ("::1", true),
            ("::2", false),
            // What an IPv4 client looks like on an IPv6 socket.
            ("::ffff:10.0.0.1", true),
            ("::ffff:11.0.0.1", false),
        ] {
            assert_eq!(trusted.contains(address.parse().unwrap()), is_trusted, "{address}");
        }
        assert!(!Networks::default().contains("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_told_at_its_place() {
        let (_, mistakes) =
            trusted("trusted_proxies:\n  - 10.0.0.0/33\n  - ::1\n  - proxy.local\n");
        assert_eq!(
            mistakes,
            "file:2:5: `10.0.0.0/33` is not a network: write 10.0.0.0/8 or one address\n\
             file:4:5: `proxy.local` is not a network: write 10.0.0.0/8 or one address"
        );
    }
}
