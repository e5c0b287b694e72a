//! A renewal under a connection that stays.

use anyhow::ensure;

use super::Step;

pub(super) const RENEWAL: Step = Step {
    name: "a_renewal_leaves_live_connections_alone",
    title: "A certificate is renewed while a download runs; the next connection sees the new serial",
    show: |stage| {
        let caller = "kubectl -n desk exec deploy/caller -c shell --";
        stage.run(&format!("{caller} sh -c 'rm -f /tmp/stream /tmp/done; (curl -sS --max-time 120 -o /tmp/stream http://127.0.0.1:9001/stream; echo $? > /tmp/done) >/dev/null 2>&1 &'"))?;
        stage.until(20, &format!("{caller} sh -c 'test -s /tmp/stream'"))?;
        let served = "kubectl -n outside exec workstation -- sh -c 'timeout 10 openssl s_client -connect web.shop.svc.cluster.local:8080 </dev/null 2>/dev/null | openssl x509 -noout -serial'";
        let before = stage.run(served)?;
        // What `kubectl countersign renew` will do: any client may ask for a renewal.
        stage.run("kubectl -n shop patch certificate countersign-web --subresource=status --type=merge -p '{\"status\":{\"conditions\":[{\"type\":\"Issuing\",\"status\":\"True\",\"reason\":\"ManuallyTriggered\",\"message\":\"asked for\"}]}}'")?;
        let after = stage.until(
            120,
            &format!("S=$({served}); test -n \"$S\" -a \"$S\" != \"{}\" && echo $S", before.trim()),
        )?;
        ensure!(before.trim() != after.trim(), "the same serial");
        stage.run(&format!("{caller} sh -c 'test ! -e /tmp/done && echo the download still runs: $(stat -c %s /tmp/stream) of 4194304 bytes'"))?;
        stage.until(120, &format!("{caller} cat /tmp/done"))?;
        let end = stage.run(&format!("{caller} sh -c 'cat /tmp/done; stat -c %s /tmp/stream'"))?;
        ensure!(end.split_whitespace().eq(["0", "4194304"]), "the download broke: {end}");
        Ok(format!("{} became {}; the download ended whole", before.trim(), after.trim()))
    },
};
