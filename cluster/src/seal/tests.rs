use proptest::prelude::*;
use redis::Value;

use super::{
    Keys, MacKey, Script, SealError, Sealed, Server,
    channel::{Exchange, Nonce, Rejected},
    join, split,
};
use crate::credentials::Secret;

#[test]
fn codes_are_those_of_rfc_2202() {
    let long = [0xaa; 80];
    let table: [(&[u8], &[u8], &str); 6] = [
        (&[0x0b; 20], b"Hi There", "b617318655057264e28bc0b6fb378c8ef146be00"),
        (b"Jefe", b"what do ya want for nothing?", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        (&[0xaa; 20], &[0xdd; 50], "125d7342b9ac11cd91a39af48aa17b4f63f175d3"),
        (&[0x0c; 20], b"Test With Truncation", "4c1a03424b55e07fe7f27be1d58bb9324a9a5a04"),
        (
            &long,
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "aa4ae5e15272d00e95705637ce8a3b55ed402112",
        ),
        (
            &long,
            b"Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data",
            "e8e99d0f45237d786d6bbaa7965c7808bbff1a91",
        ),
    ];
    for (key, text, code) in table {
        let key = MacKey::new(key);
        assert_eq!(key.mac(text), code);
        assert!(key.accepts(text, code.as_bytes()));
        assert!(!key.accepts(text, code.to_uppercase().as_bytes()), "one way to write it");
        assert!(!key.accepts(text, &code.as_bytes()[..38]));
    }
}

#[test]
fn keys_differ_by_shard_and_purpose_and_are_not_printed() {
    let keys = Keys::of(&Secret::new("hush"), 0);
    let codes = [
        keys.seal.mac(b"x"),
        keys.link.mac(b"x"),
        Keys::of(&Secret::new("hush"), 1).seal.mac(b"x"),
        Keys::of(&Secret::new("other"), 0).seal.mac(b"x"),
    ];
    let different: std::collections::BTreeSet<_> = codes.iter().collect();
    assert_eq!(different.len(), codes.len());
    let script = Script { text: "hush".into(), sha: "5".into() };
    assert_eq!(format!("{keys:?} {script:?}"), "Keys { seal: MacKey(…), link: MacKey(…) } Script(5)");
}

#[test]
fn every_client_has_a_name_of_its_own_and_counts_up() {
    let (mut one, other) = (Nonce::fresh(), Nonce::fresh());
    assert_ne!(one.client, other.client);
    assert_eq!(one.client.len(), 32);
    assert_eq!((one.advance().counter, one.advance().counter), (1, 2));
}

fn keys() -> Keys {
    Keys::of(&Secret::new("of the tests"), 3)
}

fn server() -> Server {
    Server { shard: 3, node: "r3a".into() }
}

fn sealed() -> Sealed {
    Sealed { key: "k".into(), version: 12, epoch: 7, writer: "w".into(), payload: b"code".to_vec() }
}

#[test]
fn a_seal_that_is_not_accepted_says_why() {
    let key = keys().seal;
    let text = sealed().seal(&key);
    assert_eq!(Sealed::open("k", &text, &key), Ok(sealed()));
    let other = SealError::OtherKey { asked: "l".into(), found: "k".into() };
    assert_eq!(Sealed::open("l", &text, &key), Err(other.clone()));
    assert_eq!(other.to_string(), "seal of key \"k\", not \"l\"");
    assert_eq!(Sealed::open("k", &text, &keys().link), Err(SealError::Fabricated));
    for malformed in [&b""[..], b"short", &text[1..], &[b'0'; 60]] {
        assert_eq!(Sealed::open("k", malformed, &key), Err(SealError::Malformed));
    }
}

#[test]
fn a_seal_moved_to_another_shard_is_fabricated() {
    let text = sealed().seal(&keys().seal);
    let elsewhere = Keys::of(&Secret::new("of the tests"), 4).seal;
    assert_eq!(Sealed::open("k", &text, &elsewhere), Err(SealError::Fabricated));
}

/// A reply as the script makes it.
fn reply(nonce: &Nonce, key: &str, epoch: u64, seq: u64, sealed: &[u8], body: &str) -> Vec<Vec<u8>> {
    let seq = seq.to_string();
    let covered = join([
        b"reply",
        server().shard.to_string().as_bytes(),
        server().node.as_bytes(),
        nonce.client.as_bytes(),
        nonce.counter.to_string().as_bytes(),
        key.as_bytes(),
        epoch.to_string().as_bytes(),
        seq.as_bytes(),
        sealed,
        body.as_bytes(),
    ]);
    let code = keys().link.mac(&covered);
    vec![body.into(), seq.into(), sealed.to_vec(), code.into()]
}

fn value(parts: &[Vec<u8>]) -> Value {
    Value::Array(parts.iter().cloned().map(Value::BulkString).collect())
}

fn nonce() -> Nonce {
    Nonce { client: "c".into(), counter: 9 }
}

fn accept(reply: &Value) -> Result<Value, Rejected> {
    let (keys, server, nonce) = (keys(), server(), nonce());
    let exchange = Exchange { keys: &keys, server: &server, nonce: &nonce };
    exchange.accept("k", 7, reply).map(|accepted| accepted.answer)
}

#[test]
fn answers_come_back_as_redis_would_give_them() {
    let texts =
        |items: &[&str]| Value::Array(items.iter().map(|i| Value::BulkString(i.as_bytes().into())).collect());
    let table = [
        ("$some text", Value::BulkString(b"some text".to_vec())),
        ("$", Value::BulkString(vec![])),
        ("_", Value::Nil),
        (":-12", Value::Int(-12)),
        ("+OK", Value::Okay),
        ("*1:a0:2:bc", texts(&["a", "", "bc"])),
        ("*", texts(&[])),
    ];
    for (body, expected) in table {
        assert_eq!(accept(&value(&reply(&nonce(), "k", 7, 5, b"", body))), Ok(expected), "{body}");
    }
    let error = accept(&value(&reply(&nonce(), "k", 7, 5, b"", "-FENCED the data\r\nis older"))).unwrap();
    assert!(matches!(&error, Value::ServerError(e) if e.code() == "FENCED"), "{error:?}");
    for odd in ["", "x", ":1x", "*9:a", "__"] {
        assert_eq!(accept(&value(&reply(&nonce(), "k", 7, 5, b"", odd))), Err(Rejected::Odd), "{odd:?}");
    }
}

#[test]
fn an_answer_counts_only_for_the_request_it_answers() {
    let late = Nonce { counter: 8, ..nonce() };
    let foreign = Nonce { client: "d".into(), ..nonce() };
    let others = [
        reply(&late, "k", 7, 5, b"", "$v"),
        reply(&foreign, "k", 7, 5, b"", "$v"),
        reply(&nonce(), "l", 7, 5, b"", "$v"),
        reply(&nonce(), "k", 6, 5, b"", "$v"),
    ];
    for other in others {
        assert_eq!(accept(&value(&other)), Err(Rejected::Forged));
    }
    let plain_error = redis::parse_redis_value(b"-FENCED the data is of another epoch\r\n").unwrap();
    assert_eq!(accept(&plain_error), Err(Rejected::Unproven("FENCED".into())));
    assert_eq!(accept(&Value::Okay), Err(Rejected::Unproven("unexpected reply".into())));
}

#[test]
fn a_seal_in_an_authentic_answer_is_opened_too() {
    let own = sealed().seal(&keys().seal);
    assert_eq!(accept(&value(&reply(&nonce(), "k", 7, 5, &own, "$v"))), Ok(Value::BulkString(b"v".to_vec())));
    let foreign = Sealed { key: "l".into(), ..sealed() }.seal(&keys().seal);
    let rejected = accept(&value(&reply(&nonce(), "k", 7, 5, &foreign, "$v"))).unwrap_err();
    assert!(matches!(rejected, Rejected::Seal(SealError::OtherKey { .. })));
}

fn text() -> impl Strategy<Value = String> {
    "[ -~é:0-9]{0,12}"
}

/// Another byte at some place of some part.
fn tampered(mut parts: Vec<Vec<u8>>, at: usize, with: u8) -> Vec<Vec<u8>> {
    let total: usize = parts.iter().map(Vec::len).sum();
    let mut at = at % total;
    for part in &mut parts {
        if at < part.len() {
            part[at] ^= with;
            break;
        }
        at -= part.len();
    }
    parts
}

proptest! {
    #[test]
    fn a_list_comes_back_from_its_text(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..6)) {
        let joined = join(&parts);
        let back: Option<Vec<Vec<u8>>> = split(&joined).map(|back| back.iter().map(|p| p.to_vec()).collect());
        prop_assert_eq!(back, Some(parts));
    }

    #[test]
    fn what_is_sealed_can_be_opened(
        key in text(), version: u64, epoch: u64, writer in text(), payload: Vec<u8>
    ) {
        let sealed = Sealed { key, version, epoch, writer, payload };
        let text = sealed.seal(&keys().seal);
        prop_assert_eq!(Sealed::open(&sealed.key, &text, &keys().seal), Ok(sealed));
    }

    #[test]
    fn any_changed_byte_of_a_seal_is_noticed(
        key in text(), writer in text(), payload: Vec<u8>, at: usize, with in 1..=255u8
    ) {
        let sealed = Sealed { key, version: 41, epoch: 6, writer, payload };
        let text = sealed.seal(&keys().seal);
        let changed = tampered(vec![text], at, with).remove(0);
        let error = Sealed::open(&sealed.key, &changed, &keys().seal).unwrap_err();
        prop_assert!(matches!(error, SealError::Malformed | SealError::Fabricated));
    }

    #[test]
    fn a_shortened_or_lengthened_seal_is_noticed(payload: Vec<u8>, keep in 0..100usize, more in 1..9usize) {
        let sealed = Sealed { payload, ..sealed() };
        let text = sealed.seal(&keys().seal);
        let keep = keep % text.len();
        prop_assert!(Sealed::open("k", &text[..keep], &keys().seal).is_err());
        let longer = [text, vec![b'0'; more]].concat();
        prop_assert!(Sealed::open("k", &longer, &keys().seal).is_err());
    }

    #[test]
    fn any_changed_byte_of_a_reply_is_noticed(body in text(), seq: u64, at: usize, with in 1..=255u8) {
        let sealed = sealed().seal(&keys().seal);
        let good = reply(&nonce(), "k", 7, seq, &sealed, &format!("${body}"));
        prop_assert!(accept(&value(&good)).is_ok());
        prop_assert_eq!(accept(&value(&tampered(good, at, with))), Err(Rejected::Forged));
    }

    #[test]
    fn bytes_do_not_move_between_the_parts_of_a_reply(body in "[0-9]{2,9}", cut in 1..8usize) {
        // The same bytes in the same order, but the border between two parts is elsewhere.
        let mut parts = reply(&nonce(), "k", 7, 5, b"", &body);
        let cut = cut.min(parts[0].len() - 1);
        let moved = parts[0].split_off(cut);
        parts[1] = [moved, parts[1].clone()].concat();
        prop_assert_eq!(accept(&value(&parts)), Err(Rejected::Forged));
    }
}
