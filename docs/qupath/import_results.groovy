/**
 * Imports the outlines of `histoproto segment … --out OUT` into all images of the open QuPath project:
 * OUT/NAME/tissue.geojson(.gz) goes to the image whose file is called NAME, whatever its ending.
 *
 * In QuPath (0.4 or later): Automate > Script editor, open this file, set `results`, Run. Annotations that were imported
 * before are replaced; drawn ones stay.
 *
 * Written against QuPath's documented scripting interface.
 */
import qupath.lib.io.PathIO

def results = new File(args ? args[0] : "/path/to/OUT")   // or: QuPath script -p=project.qpproj -a=OUT import_results.groovy
def MARK = "HistoProto"                                   // measurement that tells imported outlines from drawn ones

def stem = { String name ->
    def bare = name.replaceFirst(/\.[^.]+$/, "")
    bare.toLowerCase().endsWith(".ome") ? bare[0..-5] : bare
}
def project = getProject()
if (project == null)
    throw new IllegalStateException("open a project first")
if (!results.isDirectory())
    throw new IllegalArgumentException("there is no folder " + results)

int done = 0
def without = []
for (entry in project.getImageList()) {
    def uris = entry.getURIs()
    def name = stem(uris.isEmpty() ? entry.getImageName() : new File(uris[0].getPath()).getName())
    def file = ["tissue.geojson", "tissue.geojson.gz"].collect { new File(new File(results, name), it) }.find { it.isFile() }
    if (file == null) {
        without << name
        continue
    }
    def data = entry.readImageData()
    def hierarchy = data.getHierarchy()
    def old = hierarchy.getAnnotationObjects().findAll { it.getMeasurementList().containsKey(MARK) }
    hierarchy.removeObjects(old, true)
    def outlines = PathIO.readObjects(file.toPath())
    outlines.each { it.getMeasurementList().put(MARK, 1.0d); it.setLocked(true) }
    hierarchy.addObjects(outlines)
    entry.saveImageData(data)
    done++
    println(name + ": " + outlines.size() + " outlines")
}
println(done + " images have outlines now" + (without ? "; no results for " + without.join(", ") : ""))
