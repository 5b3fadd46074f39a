import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

import org.opensearch.common.logging.LogConfigurator;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;

/**
 * Starts one OpenSearch node in this JVM: java ... Launcher HOME key=value ...
 *
 * Settings come from HOME/config/opensearch.yml; the key=value arguments win. It goes around OpenSearch's own
 * Bootstrap on purpose: no root check, no SecurityManager (which Java 24 dropped), no bootstrap checks. Good for
 * tests and trials on loopback, not for an open network.
 */
public final class Launcher {
    public static void main(String[] args) throws Exception {
        Path home = Path.of(args[0]).toAbsolutePath();
        Settings.Builder settings = Settings.builder().put("path.home", home.toString());
        for (int i = 1; i < args.length; i++) {
            String[] pair = args[i].split("=", 2);
            settings.put(pair[0], pair[1]); // a list is written a,b,c
        }
        Environment environment = InternalSettingsPreparer.prepareEnvironment(
            settings.build(), Map.of(), home.resolve("config"), () -> "node-" + ProcessHandle.current().pid());
        LogConfigurator.setNodeName(Node.NODE_NAME_SETTING.get(environment.settings()));
        LogConfigurator.configure(environment);

        Node node = new Node(environment);
        CountDownLatch stopped = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> { // SIGTERM, SIGINT
            try {
                node.close();
                node.awaitClose(30, TimeUnit.SECONDS);
            } catch (Exception error) {
                error.printStackTrace();
            }
            stopped.countDown();
        }));
        if (Boolean.getBoolean("splare.tethered")) {
            Thread tether = new Thread(Launcher::exitWithParent, "tether");
            tether.setDaemon(true);
            tether.start();
        }
        node.start();
        stopped.await();
    }

    /** Standard input ends when the process that started this one does, however it ended. */
    private static void exitWithParent() {
        try {
            while (System.in.read() >= 0) {
                // nothing is ever written
            }
        } catch (java.io.IOException closed) {
            // the same as its end
        }
        System.exit(0);
    }
}
