//! The packed operations, opened again as the page does it: nothing is lost on the way.

use std::io::Read;

use checker::{History, Op, OpEnd, Process};
use flate2::read::ZlibDecoder;
use results::plot::Data;
use results::timeline::{self, Proof};
use serde_json::{Value, json};

use crate::synthetic;

/// The head and the numbers and lines after it.
struct Opened {
    head: Value,
    columns: Vec<Vec<u64>>,
    lines: Vec<String>,
}

fn base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits = text.trim_end_matches('=').bytes().map(digit).collect::<Vec<u8>>();
    let group = |four: &[u8]| -> Vec<u8> {
        let bits = four.iter().fold(0u32, |bits, &six| bits << 6 | u32::from(six)) << (6 * (4 - four.len()));
        bits.to_be_bytes()[1..four.len()].to_vec()
    };
    digits.chunks(4).flat_map(group).collect()
}

fn open(data: &Data<'_>, workers: u64, proofs: Vec<Proof>) -> Opened {
    let text = timeline::pack(data, workers, proofs).unwrap();
    let mut bytes = Vec::new();
    ZlibDecoder::new(base64(&text).as_slice()).read_to_end(&mut bytes).unwrap();
    let length = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
    let head: Value = serde_json::from_slice(&bytes[4..4 + length]).unwrap();
    let count = head["ops"].as_u64().unwrap() as usize;
    let mut rest = bytes[4 + length..].iter().copied();
    let mut number = || {
        let (mut number, mut shift) = (0u64, 0);
        loop {
            let byte = rest.next().unwrap();
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return number;
            }
        }
    };
    let columns = (0..8).map(|_| (0..count).map(|_| number()).collect()).collect();
    let text = String::from_utf8(rest.collect()).unwrap();
    Opened { head, columns, lines: text.lines().map(str::to_owned).collect() }
}

fn data(history: &History) -> Data<'_> {
    Data { history, faults: &[], failovers: &[], node_events: &[] }
}

#[test]
fn every_operation_comes_out_as_it_went_in() {
    let run = synthetic::run(2_000);
    let opened = open(&data(&run.history), 10, Vec::new());
    assert_eq!(opened.lines.len(), 4_000);
    let text = |place: &str, i: u64| opened.head[place][i as usize].clone();
    let (mut now, mut index) = (0, 0);
    for (i, op) in run.history.ops.iter().enumerate() {
        let at = |column: usize| opened.columns[column][i];
        now += at(0);
        index += (at(7) / 2) as i64 * if at(7) % 2 == 0 { 1 } else { -1 };
        assert_eq!((now, index as u64), (op.call_ns / 1_000, op.index));
        assert_eq!(at(1), op.ret_ns.map_or(0, |ret| 1 + (ret - op.call_ns) / 1_000));
        assert_eq!(Process::Client(text("processes", at(2)).as_u64().unwrap()), op.process);
        assert_eq!(text("functions", at(3) / 3), json!(op.f));
        assert_eq!([OpEnd::Ok, OpEnd::Fail, OpEnd::Info][(at(3) % 3) as usize], op.end);
        assert_eq!(text("keys", at(4)), json!(op.key.to_string()));
        assert_eq!(text("sent", at(5)), json!([op.node, op.shard, op.epoch]));
        let error = at(6).checked_sub(1).map(|place| text("errors", place));
        assert_eq!(error, op.error.as_ref().map(|error| json!(error)));
        assert_eq!(opened.lines[i], op.input.to_string());
        assert_eq!(opened.lines[2_000 + i], "");
    }
}

#[test]
fn operations_out_of_order_and_odd_values_are_no_trouble() {
    let op = |index: u64, call_ns: u64, input: Value| {
        let mut op = synthetic::write(index, 0, 1, call_ns, None, OpEnd::Info);
        (op.input, op.key, op.node, op.shard, op.epoch) = (input, Value::Null, None, None, None);
        op
    };
    let long: Vec<u32> = (0..1_000).collect();
    let ops: Vec<Op> =
        vec![op(7, 5_000, json!("line\nbreak")), op(3, 1_000, json!(long)), op(9, 5_000, json!({"é": null}))];
    let history = History { ops, faults: Vec::new(), end_ns: 0 };
    let opened = open(&data(&history), 0, Vec::new());
    assert_eq!(opened.columns[0], [1, 4, 0]);
    assert_eq!(opened.columns[7], [6, 8, 4], "indices 3, 7 and 9");
    assert_eq!(opened.lines.len(), 6);
    assert!(
        opened.lines[0].starts_with("[0,1,2,")
            && opened.lines[0].ends_with(",999]")
            && opened.lines[0].len() < 110
    );
    assert_eq!(opened.lines[1..3], ["\"line\\nbreak\"", "{\"é\":null}"]);
    assert_eq!((&opened.head["keys"], &opened.head["workers"]), (&json!([""]), &json!(1)));
}

#[test]
fn the_head_tells_of_faults_failovers_and_proofs() {
    let run = synthetic::run(500);
    let all = Data {
        history: &run.history,
        faults: &run.summary.faults,
        failovers: &run.summary.failovers,
        node_events: &run.events,
    };
    let proof = Proof { name: "stale-read".into(), key: "k".into(), ops: vec![3, 5] };
    let head = open(&all, 10, vec![proof]).head;
    assert_eq!(head["faults"].as_array().unwrap().len(), 6);
    assert_eq!(head["faults"][5]["installed"], json!(false));
    let parts = head["failovers"][0]["parts"].as_array().unwrap();
    assert_eq!(parts[0], json!([4_000_000, 4_120_000, "fault → suspected", "sky"]));
    assert!(head["marks"].as_array().unwrap().iter().all(|mark| mark["at"].as_i64().unwrap() >= 0));
    assert_eq!(head["proofs"], json!([{"name": "stale-read", "key": "k", "ops": [3, 5]}]));
    assert_eq!(head["end"], json!(31_000_000));
}
