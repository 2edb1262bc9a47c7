//! Checks under a paused clock, with a script in the place of the endpoint.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use tokio::sync::mpsc;

use super::super::told::Notices;
use super::*;
use crate::config;
use crate::plan::Plan;
use crate::telemetry::Metrics;
use crate::upstream::{Checkers, Notice, Registry, Upstream};

fn upstream(endpoints: &str, health: &str) -> Arc<Upstream> {
    let yaml = format!(
        "routes: [ {{ upstream: up }} ]\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\n\
         upstreams: {{ up: {{ endpoints: {endpoints}, health: {health} }} }}\n"
    );
    let (config, mut mistakes) = config::parse("test", &yaml, &|_| None);
    let plan = Plan::build(&config, Path::new(""), &mut mistakes);
    assert!(mistakes.is_empty(), "{mistakes}");
    Upstream::after(None, &plan.upstreams[0], &Registry::default(), &Metrics::new(1))
}

/// What notices are given to, and what was heard.
fn hearing() -> (impl Fn(Notice), mpsc::UnboundedReceiver<Notice>) {
    let (sender, notices) = mpsc::unbounded_channel();
    (move |notice| sender.send(notice).unwrap_or_default(), notices)
}

const THREE: &str = "[ '10.0.0.1:1', '10.0.0.1:2', '10.0.0.1:3' ]";

/// What the next check meets.
#[derive(Clone, Copy)]
enum Act {
    Pass,
    Fail,
    Hang,
    Local,
}

/// When checks began, and what stood after each was judged.
type Story = Vec<(Duration, bool)>;

/// Runs the checks of the first endpoint through `acts`.
async fn play(upstream: &Arc<Upstream>, acts: &[Act]) -> (Story, Vec<Notice>) {
    let endpoint = Arc::clone(&upstream.endpoints[0]);
    let (hear, mut notices) = hearing();
    let checker = Checker {
        upstream: Arc::clone(&upstream.latest),
        endpoint: Arc::clone(&endpoint),
        check: upstream.ward.plan.active.clone().unwrap(),
        streak: Streak::new(!endpoint.standing.is_down()),
        tunnels: upstream
            .ward
            .plan
            .drain_when_down
            .then(|| Arc::new(Told::new(endpoint.id, Notices::new(hear)))),
    };
    let (began, story) = (Instant::now(), Rc::new(RefCell::new(Vec::new())));
    let mut acts = acts.iter().copied();
    let (done, mut all) = mpsc::unbounded_channel();
    let run = checker.run(|| {
        let act = acts.next();
        let told = Rc::clone(&story);
        // What stands now is what the checks before this one came to.
        told.borrow_mut().push((began.elapsed(), endpoint.is_open()));
        let done = done.clone();
        async move {
            match act {
                Some(Act::Pass) => Ok(()),
                Some(Act::Fail) => Err(Fault::new(CheckOutcome::Status, "status 500")),
                Some(Act::Local) => Err(Fault::new(CheckOutcome::Local, "no descriptor")),
                Some(Act::Hang) => std::future::pending().await,
                None => {
                    done.send(()).unwrap();
                    std::future::pending().await
                }
            }
        }
    });
    tokio::select! {
        () = run => {}
        _ = all.recv() => {}
    }
    let mut told = Vec::new();
    while let Ok(notice) = notices.try_recv() {
        told.push(notice);
    }
    (Rc::try_unwrap(story).unwrap_or_default().into_inner(), told)
}

fn states(story: &Story) -> String {
    story.iter().skip(1).map(|(_, open)| if *open { 'u' } else { 'd' }).collect()
}

use Act::{Fail, Hang, Local, Pass};

#[tokio::test(start_paused = true)]
async fn as_many_checks_as_fall_and_rise_say_change_the_state() {
    let upstream = upstream(THREE, "{ active: { interval: 5s, rise: 2, fall: 3 } }");
    let acts = [Fail, Fail, Pass, Fail, Fail, Fail, Pass, Fail, Pass, Pass, Fail];
    let (story, _) = play(&upstream, &acts).await;
    assert_eq!(states(&story), "uuuuudddduu"[..11].to_owned());
    let shard = upstream.counters.at(NO_WORKER);
    assert_eq!(shard.checks[CheckOutcome::Passed as usize].value(), 4);
    assert_eq!(shard.checks[CheckOutcome::Status as usize].value(), 7);
}

#[tokio::test(start_paused = true)]
async fn checks_never_come_sooner_than_the_interval_nor_much_later() {
    let upstream = upstream(THREE, "{ active: { interval: 5s, timeout: 3s } }");
    let acts = [Pass, Hang, Pass, Hang, Hang, Fail].repeat(40);
    let (story, _) = play(&upstream, &acts).await;
    assert!(story[0].0 <= FIRST + Duration::from_millis(2), "{:?}", story[0]);
    let gaps: Vec<Duration> = story.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    let (least, most) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
    assert!(*least >= Duration::from_secs(5), "{least:?}");
    assert!(*most <= Duration::from_millis(5_502), "{most:?}");
    assert!(*most - *least > Duration::from_millis(200), "no jitter: {least:?} to {most:?}");
}

#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_is_cut_and_has_failed() {
    let upstream = upstream(THREE, "{ active: { interval: 10s, timeout: 1s, fall: 2 } }");
    let (story, _) = play(&upstream, &[Hang, Hang, Pass]).await;
    assert_eq!(states(&story), "udd");
    assert_eq!(upstream.counters.at(NO_WORKER).checks[CheckOutcome::Timeout as usize].value(), 2);
}

#[tokio::test(start_paused = true)]
async fn want_of_descriptors_changes_nothing() {
    let upstream = upstream(THREE, "{ active: { fall: 2 } }");
    let (story, _) = play(&upstream, &[Local, Local, Local, Fail, Local, Fail]).await;
    assert_eq!(states(&story), "uuuuud");
}

#[tokio::test(start_paused = true)]
async fn tunnels_of_what_is_down_are_drained_until_it_is_up() {
    let upstream = upstream(THREE, "{ active: { rise: 1, fall: 1 }, on_down: drain }");
    let id = upstream.endpoints[0].id;
    let (_, told) = play(&upstream, &[Pass, Fail, Fail, Pass, Fail]).await;
    let (drain, keep) = (Notice::Drain(id), Notice::Keep(id));
    // The last is the drop of the checker.
    assert_eq!(told, [drain, keep, drain, keep]);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_drained_while_health_is_ignored() {
    let health = "{ active: { rise: 1, fall: 1 }, on_down: drain, panic: 50% }";
    let upstream = upstream(THREE, health);
    upstream.endpoints[1].standing.set_down(true);
    let (_, told) = play(&upstream, &[Fail, Fail]).await;
    assert_eq!(told, []);
    upstream.endpoints[1].standing.set_down(false);
    let (_, told) = play(&upstream, &[Fail]).await;
    assert_eq!(told.len(), 2, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_found_outlives_the_checkers_that_found_it() {
    let upstream = upstream(THREE, "{ active: { rise: 2, fall: 2 } }");
    let (story, _) = play(&upstream, &[Fail, Fail]).await;
    assert_eq!(states(&story), "ud");
    let (story, _) = play(&upstream, &[Pass, Fail, Pass, Pass]).await;
    assert_eq!(states(&story), "dddu");
}

#[tokio::test(start_paused = true)]
async fn a_new_set_of_checkers_keeps_the_interval_to_the_last_check_of_the_old_one() {
    let upstream = upstream(THREE, "{ active: { interval: 5s } }");
    for _ in 0..20 {
        // The last check of the first set is under way when it is dropped, and the clock stands.
        play(&upstream, &[Pass]).await;
        let (second, _) = play(&upstream, &[Pass]).await;
        let waited = second[0].0;
        assert!(
            waited >= Duration::from_secs(5) && waited <= Duration::from_millis(6_003),
            "{waited:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_whose_checks_were_taken_away_is_up() {
    let upstream = upstream(THREE, "{}");
    upstream.endpoints[0].standing.set_down(true);
    let mut checkers = Checkers::new(|_| {});
    checkers.follow([&upstream]);
    assert!(upstream.endpoints[0].is_open());
}

/// Endpoints that flap in a way of their own, each step seeded: what stands is always what the last
/// run of equal checks came to.
#[tokio::test(start_paused = true)]
async fn a_long_life_of_flapping_ends_where_the_last_run_left_it() {
    for seed in 1..20_u64 {
        let upstream = upstream(THREE, "{ active: { rise: 3, fall: 2 }, panic: 0% }");
        let mut dice = seed;
        let mut acts = Vec::new();
        let (mut up, mut run, mut expected) = (true, 0, String::new());
        for _ in 0..200 {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(seed);
            let passes = dice >> 62 != 0;
            acts.push(if passes { Pass } else { Fail });
            run = if passes == up { 0 } else { run + 1 };
            if run == if up { 2 } else { 3 } {
                (up, run) = (!up, 0);
            }
            expected.push(if up { 'u' } else { 'd' });
        }
        let (story, _) = play(&upstream, &acts).await;
        assert_eq!(states(&story), expected, "seed {seed}");
    }
}
