//! Certificates from resources.

use anyhow::ensure;

use super::Step;

pub(super) const CHAIN: Step = Step {
    name: "a_certificate_chains_from_leaf_to_root",
    title: "A Certificate becomes a Secret whose chain openssl verifies up to the root",
    show: |stage| {
        stage.run("kubectl apply -f tests/manifests/issuance.yaml")?;
        stage.run(
            "kubectl -n paperwork wait --for=condition=Ready certificate/letter --timeout=60s",
        )?;
        stage.run("kubectl -n paperwork get certificate,issuer")?;
        let files = "D=$(mktemp -d); for F in tls.crt ca.crt; do kubectl -n paperwork get secret letter -o json | jq -r \".data[\\\"$F\\\"]\" | base64 -d > $D/$F; done";
        let verified = stage.run(&format!(
            "{files}; openssl crl2pkcs7 -nocrl -certfile $D/tls.crt | openssl pkcs7 -print_certs -noout | grep .; echo root: $(openssl x509 -in $D/ca.crt -noout -subject); openssl verify -CAfile $D/ca.crt -untrusted $D/tls.crt $D/tls.crt; rm -r $D"
        ))?;
        ensure!(verified.contains(": OK"), "openssl does not verify the chain");
        ensure!(verified.contains("Paperwork Root"), "ca.crt is not the root");
        Ok("leaf, intermediate and root verified by openssl".to_owned())
    },
};

pub(super) const BAD_SPEC: Step = Step {
    name: "a_bad_spec_is_refused_by_the_api_server_with_the_field_named",
    title: "A bad spec is refused at kubectl apply, with the field named",
    show: |stage| {
        stage.run(
            "kubectl create namespace paperwork --dry-run=client -o yaml | kubectl apply -f -",
        )?;
        let refusal = stage.fails("kubectl apply -f tests/manifests/bad-certificate.yaml")?;
        ensure!(refusal.contains("spec.renewBefore"), "the field is not named: {refusal}");
        Ok("refused: spec.renewBefore must be shorter than duration".to_owned())
    },
};

pub(super) const DELETED_SECRET: Step = Step {
    name: "a_deleted_secret_is_issued_again",
    title: "A Secret that is deleted comes back",
    show: |stage| {
        stage.run("kubectl apply -f tests/manifests/issuance.yaml >/dev/null; kubectl -n paperwork wait --for=condition=Ready certificate/letter --timeout=60s")?;
        let before =
            stage.run("kubectl -n paperwork get secret letter -o jsonpath='{.metadata.uid}'")?;
        stage.run("kubectl -n paperwork delete secret letter")?;
        let after = stage
            .until(20, "kubectl -n paperwork get secret letter -o jsonpath='{.metadata.uid}'")?;
        ensure!(before != after, "it is the same Secret");
        Ok("a new Secret stands in its place".to_owned())
    },
};
