# The course for a classroom, on a CPU, and nobody in it is root:
#   docker build -t kdcourse .
#   docker run --rm -p 8888:8888 -e JUPYTER_TOKEN=our-class kdcourse
FROM condaforge/miniforge3:25.3.1-0
COPY .binder/environment.yml /tmp/environment.yml
RUN mamba env create --yes --prefix /opt/course --file /tmp/environment.yml && mamba clean --all --yes
ENV PATH=/opt/course/bin:$PATH
RUN useradd --create-home --shell /bin/bash student
COPY --chown=student . /home/student/kdcourse
WORKDIR /home/student/kdcourse
RUN pip install --no-cache-dir --no-deps --editable .
USER student
EXPOSE 8888
CMD ["jupyter", "lab", "--no-browser", "--ip=0.0.0.0", "--port=8888", "--ServerApp.root_dir=notebooks"]
