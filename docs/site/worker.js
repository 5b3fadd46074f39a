// Browsers start no worker for a page that was opened from disk, and Material's search is one: there, a frame does its work.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      this.loaded = new Promise((resolve) => {
        const inside = frame.contentWindow
        window.addEventListener("message", (event) => {
          if (event.source === inside) this.dispatchEvent(new MessageEvent("message", { data: event.data }))
        })
        inside.document.open()
        inside.document.write(
          '<script>postMessage = (data) => parent.postMessage(data, "*")</script>',
          `<script src="${url}"></script>`,
        )
        inside.document.close()
        inside.addEventListener("load", () => resolve(inside))
      })
    }
    postMessage(data) {
      this.loaded.then((inside) => inside.dispatchEvent(new inside.MessageEvent("message", { data })))
    }
  }
}
