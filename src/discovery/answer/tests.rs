//! Tables of answers and what they mean.

use super::*;

fn ips(written: &[&str]) -> Vec<IpAddr> {
    written.iter().map(|one| one.parse().unwrap()).collect()
}

fn records(written: &[&str], ttl: u64) -> Reply<IpAddr> {
    Reply::Records(ips(written), Duration::from_secs(ttl))
}

fn failed(why: &str) -> Reply<IpAddr> {
    Reply::Failed(why.to_owned())
}

fn addresses(v4: &[&str], v6: &[&str]) -> Addresses {
    let set = |all: &[&str]| ips(all).into_iter().collect();
    Addresses { v4: set(v4), v6: set(v6) }
}

fn shown(endpoints: Result<Vec<Endpoint>, Fault>) -> Vec<String> {
    let shown = |one: &Endpoint| {
        let backup = if one.backup { " backup" } else { "" };
        format!("{} {}{backup}", one.label, one.weight)
    };
    endpoints.unwrap().iter().map(shown).collect()
}

#[test]
fn the_endpoints_of_a_name_are_in_order_and_once_each() {
    let learned = Addresses::default()
        .learn(records(&["10.0.0.2", "10.0.0.1", "10.0.0.2"], 30), records(&["fd00::1"], 20));
    assert_eq!(learned.ttl, Some(Duration::from_secs(20)));
    assert_eq!(
        shown(of_addresses(&learned.addresses, 9001)),
        ["10.0.0.1:9001 1", "10.0.0.2:9001 1", "[fd00::1]:9001 1"]
    );
}

#[test]
fn a_question_that_failed_leaves_what_it_said_before_and_an_empty_answer_does_not() {
    let before = addresses(&["10.0.0.1"], &["fd00::1"]);
    for (v4, v6, expected, ttl) in [
        (records(&["10.0.0.2"], 5), failed("x"), addresses(&["10.0.0.2"], &["fd00::1"]), Some(5)),
        (failed("x"), records(&["fd00::2"], 6), addresses(&["10.0.0.1"], &["fd00::2"]), Some(6)),
        (records(&["10.0.0.2"], 5), Reply::Nothing, addresses(&["10.0.0.2"], &[]), Some(5)),
        (Reply::Nothing, failed("x"), addresses(&[], &["fd00::1"]), None),
        (Reply::Nothing, Reply::Nothing, Addresses::default(), None),
    ] {
        let learned = before.learn(v4, v6);
        assert_eq!(learned.addresses, expected);
        assert_eq!(learned.ttl, ttl.map(Duration::from_secs));
        assert_eq!(learned.failed, None);
    }
    let learned = before.learn(failed("SERVFAIL"), failed("late"));
    assert_eq!((learned.addresses, learned.failed), (before, Some("SERVFAIL".to_owned())));
}

#[test]
fn a_name_without_addresses_is_a_fault_and_no_empty_list() {
    assert!(of_addresses(&Addresses::default(), 80).unwrap_err().0.contains("no addresses"));
}

fn service(priority: u16, weight: u16, port: u16, target: &str) -> Service {
    Service { priority, weight, port, target: target.to_owned() }
}

fn targets() -> BTreeMap<String, Addresses> {
    BTreeMap::from([
        ("a.".to_owned(), addresses(&["10.0.0.1"], &["fd00::1"])),
        ("b.".to_owned(), addresses(&["10.0.0.2"], &[])),
        ("none.".to_owned(), Addresses::default()),
    ])
}

#[test]
fn srv_records_bring_ports_weights_and_backups() {
    let services =
        [service(10, 60, 9001, "a."), service(10, 20, 9002, "b."), service(20, 5, 9003, "b.")];
    assert_eq!(
        shown(of_services(&services, &targets())),
        ["10.0.0.1:9001 60", "10.0.0.2:9002 20", "10.0.0.2:9003 5 backup", "[fd00::1]:9001 60",]
    );
}

#[test]
fn the_backups_of_nobody_are_no_backups() {
    let services = [service(1, 1, 1, "none."), service(2, 1, 2, "b."), service(3, 1, 3, "b.")];
    let found = shown(of_services(&services, &targets()));
    assert_eq!(found, ["10.0.0.2:2 1", "10.0.0.2:3 1 backup"]);
}

#[test]
fn two_records_that_lead_to_one_place_are_one_endpoint_of_the_better_kind() {
    let services = [service(2, 50, 1, "b."), service(1, 3, 1, "b."), service(1, 7, 1, "b.")];
    assert_eq!(shown(of_services(&services, &targets())), ["10.0.0.2:1 7"]);
}

#[test]
fn weights_keep_their_proportion() {
    for (weight, heaviest, expected) in [
        (0, 0, 1),
        (0, 100, 1),
        (1, 100, 1),
        (100, 100, 100),
        (256, 256, 256),
        (65_535, 65_535, 256),
        (32_768, 65_535, 128),
        (1, 65_535, 1),
        (1000, 2000, 128),
    ] {
        assert_eq!(scaled(weight, heaviest), expected, "{weight} of {heaviest}");
    }
}

#[test]
fn a_service_that_there_is_not_is_a_fault() {
    let none = [service(0, 0, 0, ".")];
    assert!(of_services(&none, &targets()).unwrap_err().0.contains("no such service"));
    let nowhere = [service(0, 0, 1, "none."), service(0, 0, 1, "unknown.")];
    assert!(of_services(&nowhere, &targets()).unwrap_err().0.contains("none of the targets"));
    assert!(of_services(&[], &targets()).is_err());
}
