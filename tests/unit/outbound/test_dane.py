"""Chains and TLSA records: which fit, and what is said of those that do not."""
# SPDX-License-Identifier: Apache-2.0

import datetime
import hashlib

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from mta.model.tls import Tlsa
from mta.outbound.dane import MAX_CHAIN, is_named, verify_chain

NOW = datetime.datetime.now(datetime.UTC)
ROOT = trustme.CA()
MIDDLE = ROOT.create_child_ca()
LEAF = MIDDLE.issue_cert("mx.dest.test", "*.wild.test")
OTHER = trustme.CA()


def der(blob):
    return x509.load_pem_x509_certificate(blob.bytes()).public_bytes(Encoding.DER)


LEAF_DER, MIDDLE_DER, ROOT_DER, OTHER_DER = (
    der(b) for b in (LEAF.cert_chain_pems[0], MIDDLE.cert_pem, ROOT.cert_pem, OTHER.cert_pem)
)
CHAIN = (LEAF_DER, MIDDLE_DER, ROOT_DER)


def tlsa(usage, selector, matching, octets):
    if selector == 1:
        key = x509.load_der_x509_certificate(octets).public_key()
        octets = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    hash = {1: hashlib.sha256, 2: hashlib.sha512}.get(matching)
    return Tlsa(usage, selector, matching, octets if hash is None else hash(octets).digest())


def verdict(chain, *records, names=("mx.dest.test",), now=NOW):
    found = verify_chain(chain, records, names, now)
    return "good" if found is None else found[0]


@pytest.mark.parametrize("anchor", [ROOT_DER, MIDDLE_DER])
@pytest.mark.parametrize("selector", [0, 1])
def test_an_anchor_anywhere_in_the_chain(anchor, selector):
    assert verdict(CHAIN, tlsa(2, selector, 1, anchor)) == "good"
    assert verdict((LEAF_DER, ROOT_DER, MIDDLE_DER), tlsa(2, selector, 1, anchor)) == "good"  # in any order


@pytest.mark.parametrize(
    ("chain", "record", "said"),
    [
        (CHAIN, tlsa(2, 0, 1, OTHER_DER), "validation-failure"),
        ((LEAF_DER, ROOT_DER), tlsa(2, 0, 1, ROOT_DER), "validation-failure"),  # a link is missing
        ((*CHAIN, OTHER_DER), tlsa(2, 0, 1, OTHER_DER), "validation-failure"),  # it is there, and issued nothing
        ((LEAF_DER, MIDDLE_DER), tlsa(2, 0, 0, ROOT_DER), "good"),
        ((LEAF_DER, MIDDLE_DER), tlsa(2, 1, 0, ROOT_DER), "good"),
        ((LEAF_DER,), tlsa(2, 0, 0, ROOT_DER), "validation-failure"),
        ((LEAF_DER,), tlsa(2, 1, 0, MIDDLE_DER), "good"),
        ((LEAF_DER,), tlsa(2, 1, 0, OTHER_DER), "validation-failure"),
        ((MIDDLE_DER, LEAF_DER), tlsa(3, 1, 1, LEAF_DER), "validation-failure"),  # of DANE-EE only the first counts
        ((), tlsa(3, 1, 1, LEAF_DER), "validation-failure"),
        ((b"rubbish",), tlsa(3, 1, 1, LEAF_DER), "validation-failure"),
    ],
)
def test_chains(chain, record, said):
    assert verdict(chain, record) == said


def test_dates_count_for_anchors_and_not_for_the_server_s_own_record():
    early = datetime.datetime(1990, 1, 1, tzinfo=datetime.UTC)
    assert verdict(CHAIN, tlsa(2, 0, 1, ROOT_DER), now=early) == "certificate-expired"
    assert verdict(CHAIN, tlsa(3, 0, 1, LEAF_DER), now=early) == "good"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("other.test", "mx.dest.test"), "good"),
        (("MX.dest.test.",), "good"),
        (("a.wild.test",), "good"),
        (("a.b.wild.test",), "certificate-host-mismatch"),
        (("wild.test",), "certificate-host-mismatch"),
        (("dest.test",), "certificate-host-mismatch"),
    ],
)
def test_names_count_for_anchors(names, said):
    assert verdict(CHAIN, tlsa(2, 0, 1, ROOT_DER), names=names) == said
    assert verdict(CHAIN, tlsa(3, 0, 1, LEAF_DER), names=names) == "good"


def test_the_best_digest_of_a_kind_decides():
    """RFC 7671 §9: who can forge SHA-256 gains nothing where SHA-512 is published."""
    weak, wrong = tlsa(3, 1, 1, LEAF_DER), tlsa(3, 1, 2, OTHER_DER)
    assert verdict(CHAIN, weak, wrong) == "validation-failure"
    assert verdict(CHAIN, weak, tlsa(3, 0, 2, OTHER_DER)) == "good"  # of another selector


def test_records_of_the_web_s_usages_speak_for_nothing():
    assert verdict(CHAIN, tlsa(1, 0, 1, LEAF_DER), tlsa(0, 0, 1, ROOT_DER)) == "validation-failure"


def test_endless_chains_end():
    assert verdict((LEAF_DER, *[OTHER_DER] * 1000, MIDDLE_DER, ROOT_DER), tlsa(2, 0, 1, ROOT_DER)) == "validation-failure"
    assert verdict((LEAF_DER, MIDDLE_DER, *[OTHER_DER] * (MAX_CHAIN - 3), ROOT_DER), tlsa(2, 0, 1, ROOT_DER)) == "good"


@given(st.binary(max_size=200), st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_rubbish_in_records_fits_nothing(data, usage, selector, matching):
    assert verdict(CHAIN, Tlsa(usage, selector, matching, data)) == "validation-failure"


def test_a_name_without_dots_is_no_wildcard_s():
    assert not is_named(x509.load_der_x509_certificate(LEAF_DER), "wild")
