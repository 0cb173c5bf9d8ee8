// The camera: one frame after the other, each as soon as the last was looked
// at.

import { pixelsOf } from "./photo.js";

export class Camera {
  #stream = null;

  // onframe(photo): a promise; the next frame waits for it.
  constructor(onframe) {
    this.onframe = onframe;
  }

  get isOn() {
    return this.#stream !== null;
  }

  // Throws an Error with a line for the reader.
  async start() {
    if (!navigator.mediaDevices?.getUserMedia)
      throw new Error(
        "This browser does not allow the camera on this page.",
      );
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({
        video: { width: 640, height: 480, facingMode: "environment" },
      });
    } catch {
      throw new Error("There is no camera, or the page may not use it.");
    }
    const video = document.createElement("video");
    Object.assign(video, { muted: true, playsInline: true });
    video.srcObject = this.#stream;
    await video.play();
    this.#run(video);
  }

  stop() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
  }

  async #run(video) {
    while (this.isOn) {
      const { videoWidth, videoHeight } = video;
      const photo = pixelsOf(video, videoWidth, videoHeight);
      await this.onframe({ ...photo, name: "the camera" });
      await new Promise(requestAnimationFrame);
    }
  }
}
