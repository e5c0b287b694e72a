//! Everyone who must be refused, and by which name.

use anyhow::{Context as _, ensure};

use super::{Stage, Step};

/// A shell in a pod outside the mesh.
const OUTSIDE: &str = "kubectl -n outside exec workstation --";

/// How often a sidecar gave a reason so far.
fn refused(stage: &Stage, sidecar: &str, reason: &str) -> anyhow::Result<u32> {
    let count = stage.run(&format!(
        "kubectl {sidecar} -c countersign-sidecar | awk '/{reason}/ {{ n++ }} END {{ print n + 0 }}'"
    ))?;
    count.trim().parse().with_context(|| format!("a count of {reason}: {count}"))
}

/// Does something that must fail, and sees a sidecar say why.
fn expect(stage: &Stage, sidecar: &str, reason: &str, attempt: &str) -> anyhow::Result<String> {
    let before = refused(stage, sidecar, reason)?;
    let output = stage.fails(attempt)?;
    ensure!(!output.contains("secret of the shop"), "the page was served: {output}");
    let told =
        format!("test $(kubectl {sidecar} -c countersign-sidecar | grep -c {reason}) -gt {before}");
    // Whatever else went wrong, the client's own words and the sidecar's say it.
    stage.until(15, &told).with_context(|| {
        let log = stage.run(&format!("kubectl {sidecar} -c countersign-sidecar --tail=5"));
        format!("the client said: {output}; the sidecar: {}", log.unwrap_or_default())
    })?;
    stage.run(&format!("kubectl {sidecar} -c countersign-sidecar | grep {reason} | tail -1"))?;
    Ok(format!("refused: {reason}"))
}

const WEB: &str = "-n shop logs deploy/web";
const CALLER: &str = "-n desk logs deploy/caller";

/// A request by curl, with what certificate it is told to. It does not care who the server is, so
/// that nobody but the server can refuse.
fn request(arguments: &str) -> String {
    format!(
        "{OUTSIDE} curl -sS --insecure --max-time 10 {arguments} https://web.shop.svc.cluster.local:8080/"
    )
}

pub(super) const PLAINTEXT: Step = Step {
    name: "a_client_that_speaks_plaintext_is_refused",
    title: "A client that speaks plaintext is refused",
    show: |stage| {
        let attempt =
            format!("{OUTSIDE} curl -sS --max-time 10 http://web.shop.svc.cluster.local:8080/");
        expect(stage, WEB, "plaintext", &attempt)
    },
};

pub(super) const NO_CERTIFICATE: Step = Step {
    name: "a_client_without_a_certificate_is_refused",
    title: "A client without a certificate is refused",
    show: |stage| expect(stage, WEB, "no_client_certificate", &request("")),
};

pub(super) const FOREIGN_CLIENT: Step = Step {
    name: "a_client_of_a_foreign_authority_is_refused",
    title: "A client with a certificate of a foreign authority is refused",
    show: |stage| {
        // It bears the very name of our authority: what counts is who signed.
        let new =
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1";
        let root = format!(
            "{new} -subj \"/O=cluster.local/CN=Countersign intermediate\" -keyout /tmp/root.key -out /tmp/foreign-root.crt"
        );
        let leaf = format!(
            "{new} -CA /tmp/foreign-root.crt -CAkey /tmp/root.key -extensions usr_cert -subj /CN=foreign -addext subjectAltName=URI:spiffe://cluster.local/ns/desk/sa/caller -keyout /tmp/foreign.key -out /tmp/foreign.crt"
        );
        stage.run(&format!(
            "{OUTSIDE} sh -c '({root} && {leaf}) 2>/dev/null && openssl x509 -in /tmp/foreign.crt -noout -issuer -ext subjectAltName'"
        ))?;
        expect(
            stage,
            WEB,
            "peer_untrusted",
            &request("--cert /tmp/foreign.crt --key /tmp/foreign.key"),
        )
    },
};

pub(super) const EXPIRED_CLIENT: Step = Step {
    name: "a_client_with_an_expired_certificate_is_refused",
    title: "A client whose certificate of our own authority has expired is refused",
    show: |stage| {
        // Nobody can have the operator sign what is over: the authority's key itself must be used.
        // The files go as arguments: `kubectl exec -i` was seen to lose what it was given, one time in
        // six.
        stage.run("D=$(mktemp -d) && cd $D && for F in tls.crt tls.key; do kubectl -n countersign-system get secret countersign-intermediate -o json | jq -r \".data[\\\"$F\\\"]\" | base64 -d > $F; done && openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=late -keyout late.key -out late.csr 2>/dev/null && touch index && printf '[ca]\\ndefault_ca=d\\n[d]\\ndatabase=index\\nnew_certs_dir=.\\nserial=serial\\ndefault_md=sha256\\npolicy=p\\nx509_extensions=e\\n[p]\\ncommonName=supplied\\n[e]\\nextendedKeyUsage=clientAuth\\nsubjectAltName=URI:spiffe://cluster.local/ns/desk/sa/caller\\n' > ca.conf && openssl ca -batch -config ca.conf -rand_serial -cert tls.crt -keyfile tls.key -startdate 20200101000000Z -enddate 20200102000000Z -in late.csr -out late.crt -notext 2>/dev/null && cat tls.crt >> late.crt && openssl x509 -in late.crt -noout -issuer -enddate && for F in late.crt late.key; do kubectl -n outside exec workstation -- sh -c \"echo $(base64 -w0 $F) | base64 -d > /tmp/$F\"; done && cd / && rm -r $D")?;
        expect(stage, WEB, "peer_expired", &request("--cert /tmp/late.crt --key /tmp/late.key"))
    },
};

pub(super) const FOREIGN_SERVER: Step = Step {
    name: "a_server_of_a_foreign_authority_is_refused",
    title: "An impostor server with the right name and a foreign certificate is refused by the caller",
    show: |stage| {
        expect(
            stage,
            CALLER,
            "peer_untrusted",
            "kubectl -n desk exec deploy/caller -c shell -- curl -sS --max-time 10 http://127.0.0.1:9002/",
        )
    },
};

pub(super) const WRONG_IDENTITY: Step = Step {
    name: "a_server_of_the_wrong_identity_is_refused",
    title: "A server with a valid certificate of the wrong identity is refused by the caller",
    show: |stage| {
        expect(
            stage,
            CALLER,
            "peer_unexpected",
            "kubectl -n desk exec deploy/caller -c shell -- curl -sS --max-time 10 http://127.0.0.1:9003/",
        )
    },
};
