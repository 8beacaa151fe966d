import java.io.*;
import java.lang.management.ManagementFactory;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.*;
import javax.tools.*;

/**
 * Java's compiler, kept warm in one virtual machine.
 *
 * Frames on stdin and stdout are described in __init__.py.  Arguments: the options of javac.
 */
public class WarmJavac {
    private static final JavaCompiler COMPILER = ToolProvider.getSystemJavaCompiler();
    private static final StandardJavaFileManager FILES =
            COMPILER.getStandardFileManager(null, null, StandardCharsets.UTF_8);

    /** The program as javac reads it. */
    static class Source extends SimpleJavaFileObject {
        private final String text;

        Source(String text) {
            super(URI.create("string:///Problem.java"), Kind.SOURCE);
            this.text = text;
        }

        @Override
        public CharSequence getCharContent(boolean ignoreEncodingErrors) {
            return text;
        }
    }

    /** Keeps what javac writes; everything else is as on disk. */
    static class Outputs extends ForwardingJavaFileManager<JavaFileManager> {
        final Map<String, ByteArrayOutputStream> written = new LinkedHashMap<>();

        Outputs() {
            super(FILES);
        }

        @Override
        public JavaFileObject getJavaFileForOutput(
                Location location, String name, JavaFileObject.Kind kind, FileObject sibling) {
            String file = name + kind.extension;
            return new SimpleJavaFileObject(URI.create("memory:///" + file.replace('.', '/')), kind) {
                @Override
                public OutputStream openOutputStream() {
                    ByteArrayOutputStream data = new ByteArrayOutputStream();
                    written.put(name.replace('.', '/') + kind.extension, data);
                    return data;
                }
            };
        }
    }

    /** The options with the jars that stand here for a star in the class path, as javac's launcher has it. */
    private static List<String> expanded(String[] options) {
        String[] jars = new File(".").list((folder, name) -> name.endsWith(".jar"));
        Arrays.sort(jars);
        return Arrays.stream(options).map(one -> one.replace("*", String.join(":", jars))).toList();
    }

    public static void main(String[] options) throws IOException {
        List<String> asked = expanded(options);
        DataInputStream in = new DataInputStream(System.in);
        DataOutputStream out = new DataOutputStream(new BufferedOutputStream(System.out, 1 << 16));
        var usage = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        while (true) {
            byte[] text;
            try {
                text = in.readNBytes(in.readInt());
            } catch (EOFException end) {
                return;
            }
            long before = usage.getProcessCpuTime();
            Outputs outputs = new Outputs();
            StringWriter said = new StringWriter();
            Source source = new Source(new String(text, StandardCharsets.UTF_8));
            boolean done = COMPILER.getTask(said, outputs, null, asked, null, List.of(source)).call();
            out.writeInt(done ? 0 : 1);
            out.writeInt((int) Math.min((usage.getProcessCpuTime() - before) / 1000, Integer.MAX_VALUE));
            send(out, said.toString().getBytes(StandardCharsets.UTF_8));
            out.writeInt(outputs.written.size());
            for (var file : outputs.written.entrySet()) {
                send(out, file.getKey().getBytes(StandardCharsets.UTF_8));
                send(out, file.getValue().toByteArray());
            }
            out.flush();
        }
    }

    private static void send(DataOutputStream out, byte[] data) throws IOException {
        out.writeInt(data.length);
        out.write(data);
    }
}
