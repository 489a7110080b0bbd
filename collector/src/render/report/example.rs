//! A report for tests.

use super::{Report, ReportFunction, ReportSide, Smallest};

pub(super) fn report() -> Report {
    let side = |version: &str| ReportSide {
        query: format!("{{service=\"api\", version=\"{version}\"}}"),
        from: Some(1_764_001_000.0),
        to: Some(1_764_001_600.0),
        host_seconds: 1800.0,
        hosts: 3,
        windows: 12,
        samples: 9000,
        total: 0.5,
        ..ReportSide::default()
    };
    let grown = ReportFunction {
        name: "grows<a|b>".into(),
        module: "/usr/bin/api".into(),
        of: "self".into(),
        a: 0.1,
        b: 0.12,
        change: 0.02,
        low: Some(0.01),
        high: Some(0.03),
        relative: Some(0.2),
        relative_low: Some(0.09),
        relative_high: Some(0.31),
        verdict: "grew".into(),
        ..ReportFunction::default()
    };
    let moved = ReportFunction { name: "b".into(), moved_from: Some("a".into()), ..grown.clone() };
    Report {
        unit: "cores".into(),
        weight_unit: "nanoseconds".into(),
        a: side("1"),
        b: side("2"),
        why: "B begins 2 minutes after 2 was first seen".into(),
        regressions: vec![grown],
        moved: vec![moved],
        tested: 40,
        flagged: 1,
        fdr: 0.05,
        dispersion: 1.25,
        smallest: Some(Smallest { change: 0.01, relative: 0.4 }),
        smallest_change_seen: "with these samples a change of 0.01 cores is seen".into(),
        notes: vec!["One host.".into()],
        ..Report::default()
    }
}
