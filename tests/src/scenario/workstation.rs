//! A workstation outside the mesh, without an identity provider.

use anyhow::ensure;

use super::Step;

pub(super) const CSR: Step = Step {
    name: "a_workstation_gets_a_certificate_and_its_key_never_leaves_it",
    title: "A workstation's CSR is signed and used from outside the mesh; its key never leaves it",
    show: |stage| {
        let workstation = "kubectl -n outside exec workstation --";
        stage.run(&format!("{workstation} sh -c 'openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /O=Example/CN=laptop-7 -keyout /tmp/laptop.key -out /tmp/laptop.csr 2>/dev/null && head -1 /tmp/laptop.csr'"))?;
        stage.run("kubectl -n outside delete certificaterequest laptop-7 --ignore-not-found")?;
        stage.run(&format!("CSR=$({workstation} cat /tmp/laptop.csr | base64 -w0); jq -n --arg csr $CSR '{{apiVersion: \"countersign.dev/v1\", kind: \"CertificateRequest\", metadata: {{name: \"laptop-7\", namespace: \"outside\"}}, spec: {{request: $csr, duration: \"1h\", usages: [\"digital signature\", \"client auth\"], issuerRef: {{name: \"countersign-devices\", kind: \"ClusterIssuer\"}}}}}}' | kubectl apply -f -"))?;
        stage.run("kubectl -n outside wait --for=condition=Ready certificaterequest/laptop-7 --timeout=30s && kubectl -n outside get certificaterequest")?;
        stage.run(&format!("PEM=$(kubectl -n outside get certificaterequest laptop-7 -o jsonpath='{{.status.certificate}}') && {workstation} sh -c \"echo $PEM | base64 -d > /tmp/laptop.crt && head -1 /tmp/laptop.crt\""))?;
        // It proves what it is by the CA of people and devices, and checks the server by that of workloads.
        stage.run(&format!("PEM=$(kubectl get clusterissuer countersign -o jsonpath='{{.status.caChain}}' | base64 -w0) && {workstation} sh -c \"echo $PEM | base64 -d > /tmp/root.crt && head -1 /tmp/root.crt\""))?;
        let page = stage.run(&format!("{workstation} curl -sS --max-time 10 --cacert /tmp/root.crt --cert /tmp/laptop.crt --key /tmp/laptop.key https://web.shop.svc.cluster.local:8080/"))?;
        ensure!(page.contains("the secret of the shop"), "another page: {page}");
        let object = stage.run("kubectl -n outside get certificaterequest laptop-7 -o json | jq -r '.spec.request' | base64 -d")?;
        ensure!(!object.contains("PRIVATE KEY"), "a private key travelled");
        Ok("curl outside the mesh, with a certificate of ours, verified the server and was let in"
            .to_owned())
    },
};
